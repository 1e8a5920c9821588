import argparse

for number in range(10):
    print(number)

if __name__ == "__main__":
    argparse.ArgumentParser().parse_args()
