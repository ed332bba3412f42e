"""Agents: what they refuse, plans that are made with people, environments."""

from typing import Any

import pytest
from gemini_kit import LOOKUP, Stage, receiving, stage
from google.genai import _interactions as sdk

RESEARCHER = "deep-research-preview-04-2026"
WORKER = "antigravity-preview-09-2026"


async def asked(s: Stage, text: str, *, planning: bool | None = None, **options: Any) -> Any:
    config: dict[str, Any] = {"type": "deep-research", "thinking_summaries": "auto", "visualization": "off"}
    if planning is not None:
        config["collaborative_planning"] = planning
    made = await s.interactions.create(
        agent=RESEARCHER, background=True, input=text, agent_config=config, **options
    )
    return await s.after(made)


@pytest.mark.asyncio
async def test_a_plan_is_made_refined_and_carried_out() -> None:
    async with receiving() as r, stage() as s:
        hook = {"webhook_config": {"uris": [r.uri]}}
        plan = await asked(s, "Bees", planning=True, **hook)
        better = await asked(s, "Only wild ones", planning=True, previous_interaction_id=plan.id, **hook)
        report = await asked(s, "Go ahead", planning=False, previous_interaction_id=better.id, **hook)
        assert [i.status for i in (plan, better, report)] == ["completed"] * 3
        assert plan.output_text.startswith("Research plan, version 1, for: Bees")
        assert better.output_text.startswith("Research plan, version 2, for: Bees")
        assert "As asked: Only wild ones" in better.output_text
        assert report.output_text.startswith("Research report on: Bees")
        (content,) = report.steps[-1].content
        said, cited = content.text.encode(), content.annotations
        parts = [said[one.start_index : one.end_index].decode() for one in cited]
        assert [part[-9:] for part in parts] == ["[cite: 1]", "[cite: 2]", "[cite: 3]"]
        assert all(
            one.type == "url_citation" and f"[{one.title}]({one.url})" in content.text for one in cited
        )
        assert len(r.got) == 3
        assert (await asked(s, "Ants")).output_text.startswith("Research report on: Ants")


BAD: list[dict[str, Any]] = [
    {"agent": RESEARCHER, "tools": [LOOKUP]},
    {"agent": RESEARCHER, "response_format": {"type": "text"}},
    {"agent": RESEARCHER, "background": False},
    {"agent": RESEARCHER, "agent_config": {"type": "antigravity"}},
    {"agent": RESEARCHER, "agent_config": {"type": "deep-research", "collaborative_planning": "yes"}},
    {"agent": RESEARCHER, "agent_config": {"type": "deep-research", "max_total_tokens": "5"}},
    {"agent": RESEARCHER, "generation_config": {"temperature": 1}},
    {"agent": WORKER, "agent_config": {"type": "antigravity", "max_total_tokens": "many"}},
    {"agent": WORKER, "environment": ""},
    {"agent": WORKER, "environment": {"type": "local"}},
    {"agent": WORKER, "environment": {"type": "remote", "size": 3}},
    {"model": "gemini-3.8-flash", "agent_config": {"type": "deep-research"}},
    {"model": "gemini-3.8-flash", "environment": "remote"},
]


@pytest.mark.asyncio
async def test_what_agents_do_not_take() -> None:
    async with stage() as s:
        for body in BAD:
            full = {"input": "x", "background": True, **body}
            assert (await s.http("POST", "/v1beta/interactions", json=full)).status_code == 400, body
        taken = {"agent": WORKER, "input": "x", "background": True, "tools": [LOOKUP]}
        assert (await s.http("POST", "/v1beta/interactions", json=taken)).status_code == 200


@pytest.mark.asyncio
async def test_an_environment_is_made_found_again_and_gone_after_a_week() -> None:
    async with stage() as s:

        async def work(environment: Any) -> Any:
            options = {"agent_config": {"type": "antigravity", "max_total_tokens": 9}}
            return await s.interactions.create(
                agent=WORKER, background=True, input="x", environment=environment, **options
            )

        first = await work("remote")
        again = await work(first.environment_id)
        other = await work({"type": "remote", "environment_id": first.environment_id})
        assert first.environment_id.startswith("env_")
        assert {again.environment_id, other.environment_id} == {first.environment_id}
        assert (await work({"type": "remote"})).environment_id != first.environment_id
        await s.emulator.advance(8 * 86_400)
        for name in (first.environment_id, "env_unknown"):
            with pytest.raises(sdk.NotFoundError, match="Environment"):
                await work(name)
