# /// script
# requires-python = ">=3.11"
# dependencies = ["mcp[cli]>=1.2", "httpx"]
# ///
import httpx
from mcp.server.fastmcp import FastMCP

server = FastMCP("exchange")


@server.tool()
async def rate(base: str, quote: str) -> float:
    """Return the exchange rate of two currencies."""
    async with httpx.AsyncClient(timeout=None) as client:
        answer = await client.get("https://rates.example/latest", params={"base": base, "symbols": quote})
    return answer.raise_for_status().json()["rates"][quote]


if __name__ == "__main__":
    server.run()
