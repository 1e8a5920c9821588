# /// script
# requires-python = ">=3.11"
# dependencies = ["discord.py>=2.4"]
# ///
import os

import discord

intents = discord.Intents.default()
intents.message_content = True
client = discord.Client(intents=intents)


@client.event
async def on_message(message):
    if message.author != client.user and message.content == "!ping":
        await message.channel.send("pong")


client.run(os.environ["DISCORD_TOKEN"])
