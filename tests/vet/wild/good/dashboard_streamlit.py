# /// script
# requires-python = ">=3.11"
# dependencies = ["streamlit", "plotly", "pandas"]
# ///
# Start it with: uv run --with streamlit streamlit run dashboard_streamlit.py
import pandas as pd
import plotly.express as px
import streamlit as st

st.title("Sales")
upload = st.file_uploader("CSV file")
if upload is not None:
    data = pd.read_csv(upload)
    column = st.selectbox("column", data.columns)
    st.plotly_chart(px.histogram(data, x=column))
