try:
    print(1 / 0)
except:
    print("never mind")
