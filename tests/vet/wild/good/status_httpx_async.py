#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.12"
# dependencies = ["httpx[http2]>=0.27", "rich"]
# ///
import asyncio

import httpx
from rich.console import Console
from rich.table import Table

SITES = ["https://example.org", "https://example.com", "https://example.net"]


async def status(client: httpx.AsyncClient, site: str) -> tuple[str, str]:
    try:
        answer = await client.get(site)
    except httpx.HTTPError as error:
        return site, f"down ({error})"
    return site, str(answer.status_code)


async def main() -> None:
    table = Table("site", "status")
    async with httpx.AsyncClient(http2=True, timeout=5) as client, asyncio.TaskGroup() as group:
        tasks = [group.create_task(status(client, site)) for site in SITES]
    for task in tasks:
        table.add_row(*task.result())
    Console().print(table)


asyncio.run(main())
