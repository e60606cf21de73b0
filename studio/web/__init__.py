"""The studio in a browser: guard, login, routes and page. The only place that knows gradio and fastapi."""
