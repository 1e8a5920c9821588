# /// script
# dependencies = ["aiohttp<4", "beautifulsoup4"]
# ///
import asyncio
import sys

import aiohttp
from bs4 import BeautifulSoup


async def title(session, url):
    async with session.get(url) as response:
        soup = BeautifulSoup(await response.text(), "html.parser")
    return soup.title.string if soup.title else "(no title)"


async def main(urls):
    async with aiohttp.ClientSession() as session:
        for url, found in zip(urls, await asyncio.gather(*(title(session, url) for url in urls)), strict=True):
            print(url, found, sep="\t")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
