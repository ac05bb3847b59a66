"""The smallest app: it greets. Run it: python -m sample_apps.hello"""

from app_sdk import App, Context, Done
from sample_apps.command_line import run

app = App("app_hello", "Hello")


@app.task("greet")
def greet(ctx: Context) -> Done:
    return Done(f"Hello, {ctx.state.get('name', 'world')}!")


if __name__ == "__main__":
    run(app, port=8501)
