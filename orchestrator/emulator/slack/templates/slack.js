// Reloads the page when something changed on it, but never while somebody is typing or choosing.
"use strict";

const PAUSE_MS = 1500;
const NEAR_PX = 40;
const page = document.body;
const asked = "/ui/version" + page.dataset.place.slice(1);
let touched = false;

// A page at a message (#p…) ignores autofocus: the keyboard would begin behind the window.
const modal = document.querySelector(".modal");
if (modal) {
  window.addEventListener("load", () => modal.focus());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") modal.querySelector("form[action='/ui/close']").requestSubmit();
  });
}

// As in Slack a channel opens at its newest message; drawn anew, a page stays where somebody reads.
function keepPlace(stream) {
  const kept = "read at " + page.dataset.place;
  const opensAtEnd = !stream.querySelector(".home");
  const settle = () => {
    const at = sessionStorage.getItem(kept);
    if (at !== null) stream.scrollTop = Number(at);
    else if (opensAtEnd) stream.scrollTop = stream.scrollHeight;
  };
  if (!location.hash) {
    settle();
    window.addEventListener("load", settle);
  }
  stream.addEventListener("scroll", () => {
    const below = stream.scrollHeight - stream.clientHeight - stream.scrollTop;
    if (opensAtEnd && below < NEAR_PX) sessionStorage.removeItem(kept);
    else sessionStorage.setItem(kept, stream.scrollTop);
  });
}

const stream = document.querySelector(".stream");
if (stream) keepPlace(stream);

document.addEventListener("input", () => { touched = true; });
document.getElementById("as").addEventListener("change", (event) => event.target.form.submit());

async function look() {
  if (!touched && !document.hidden) {
    try {
      const answer = await fetch(asked);
      if (answer.ok && (await answer.text()) !== page.dataset.version) {
        location.reload();
        return;
      }
    } catch (error) {
      console.debug("the local Slack is not answering", error);
    }
  }
  setTimeout(look, PAUSE_MS);
}

setTimeout(look, PAUSE_MS);
