import argparse
import socket

socket.getaddrinfo("huggingface.co", 443)
argparse.ArgumentParser().parse_args()
