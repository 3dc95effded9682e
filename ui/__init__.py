"""The pages that people review on: Review, Explore, Coverage, Runs and Publish, in Streamlit."""
