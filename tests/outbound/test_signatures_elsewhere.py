"""A message signed here, read by another language: by its Standard Webhooks library where that is installed.

`npm install standardwebhooks` somewhere and name the folder `node_modules` in it by NODE_PATH; without the
library Node's own HMAC is asked, as the specification words it.
"""

import base64
import json
import shutil
import subprocess
from datetime import UTC, datetime

import pytest

from orchestrator.domain.announcements import body
from orchestrator.domain.callbacks import News
from orchestrator.outbound import Outbound
from orchestrator.outbound.callbacks import CallbackSender

NEW, OLD = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
READER = """
const { secret, headers, body } = JSON.parse(require("fs").readFileSync(0, "utf8"));
let library = null;
try { library = require("standardwebhooks"); } catch (e) { if (e.code !== "MODULE_NOT_FOUND") throw e; }
let good;
if (library) {
  try { new library.Webhook(secret).verify(body, headers); good = true; } catch (e) { good = false; }
} else {
  const key = Buffer.from(secret.replace("whsec_", ""), "base64");
  const signed = [headers["webhook-id"], headers["webhook-timestamp"], body].join(".");
  const mac = "v1," + require("crypto").createHmac("sha256", key).update(signed, "utf8").digest("base64");
  good = headers["webhook-signature"].split(" ").includes(mac);
}
console.log(JSON.stringify({ good, library: library !== null }));
"""
NODE = shutil.which("node")


def read_by_node(secret: str, headers: dict[str, str], text: str) -> bool:
    assert NODE is not None
    asked = json.dumps({"secret": secret, "headers": headers, "body": text})
    done = subprocess.run([NODE, "-e", READER], input=asked, capture_output=True, text=True, check=True)
    return bool(json.loads(done.stdout)["good"])


@pytest.mark.skipif(NODE is None, reason="needs Node")
def test_another_language_takes_our_signatures() -> None:
    now = datetime.now(UTC)
    text = body(News.RUN_COMPLETED, {"run": "run_1", "output": "Überweisung ✓ \ud83e\udd80"}, now)
    sender = CallbackSender(Outbound(), [NEW, OLD], clock=lambda: now)
    headers = sender.signed("msg_1", text)
    other = "whsec_" + base64.b64encode(b"x" * 32).decode()
    assert [read_by_node(secret, headers, text) for secret in (NEW, OLD, other)] == [True, True, False]
    assert not read_by_node(NEW, headers, text.replace("run_1", "run_2"))
