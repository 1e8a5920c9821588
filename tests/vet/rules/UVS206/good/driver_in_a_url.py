# /// script
# requires-python = ">=3.11"
# dependencies = ["mysqlclient>=2,<3", "psycopg>=3,<4", "sqlalchemy>=2,<3"]
# ///
import MySQLdb
import sqlalchemy

print(sqlalchemy.create_engine("postgresql+psycopg://user@host/rows"), MySQLdb)
