import pickle

with open("a.pkl", "rb") as file:
    print(pickle.load(file))
