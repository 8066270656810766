"""Questions to the warehouse that answer as one chooses: a marimo notebook."""

import marimo

app = marimo.App(width="medium", app_title="Push loss explorer")


@app.cell
def _():
    import altair
    import marimo as mo

    from pushloss_pipeline.parts import open_parts
    from pushloss_pipeline.settings import read_settings

    warehouse = open_parts(read_settings()).warehouse

    def ask(question, **parameters):
        """Rows of a query as a list of dicts."""
        return warehouse.query(question, parameters).as_dicts()

    return altair, ask, mo, warehouse


@app.cell
def _(ask, mo):
    names = [row["app"] for row in ask("select app from apps order by app")]
    newest = ask("select max(loss_date) as day from push_loss_days")[0]["day"]
    mo.stop(newest is None, mo.md("Nothing is loaded yet: run `pushloss load`."))
    chosen_app = mo.ui.dropdown(names, value=names[0], label="App")
    chosen_days = mo.ui.slider(7, 365, value=28, label="Days", show_value=True)
    chosen_view = mo.ui.dropdown(
        ["platform", "category", "owner", "stage"], value="platform", label="Split by"
    )
    mo.vstack(
        [
            mo.md("# Push loss explorer"),
            mo.hstack([chosen_app, chosen_days, chosen_view], justify="start", gap=2),
        ]
    )
    return chosen_app, chosen_days, chosen_view


@app.cell
def _(altair, ask, chosen_app, chosen_days, chosen_view, mo):
    split = chosen_view.value
    by_day = ask(
        # The name of a view cannot be a parameter; it is one of the four above.
        f"select loss_date, {split}, lost_count from push_loss_by_{split}"
        " where app = $app and loss_date > ("
        "select max(loss_date) - cast($days as integer) from push_loss_days"
        ") order by all",
        app=chosen_app.value,
        days=chosen_days.value,
    )
    data = altair.Data(
        values=[{**row, "loss_date": str(row["loss_date"])} for row in by_day]
    )
    mo.ui.altair_chart(
        altair.Chart(data, title=f"Lost messages by {split}")
        .mark_bar()
        .encode(
            x=altair.X("yearmonthdate(loss_date):T", title=None),
            y=altair.Y("lost_count:Q", title="messages"),
            color=altair.Color(f"{split}:N", title=None),
            tooltip=["loss_date:T", f"{split}:N", "lost_count:Q"],
        )
        .properties(width="container", height=280)
    )


@app.cell
def _(ask, chosen_app, chosen_days, mo):
    top = ask(
        "select position, stage, platform, err_code, meaning, category, owner, action,"
        " lost_count, share from push_loss_top($app, $days) order by position",
        app=chosen_app.value,
        days=chosen_days.value,
    )
    mo.vstack(
        [mo.md("## What is lost most"), mo.ui.table(top, page_size=15, selection=None)]
    )


@app.cell
def _(mo):
    question = mo.ui.code_editor(
        "select loss_date, app, lost_count\nfrom push_loss_by_app\n"
        "order by loss_date desc, app",
        language="sql",
        label="Your own question",
    )
    run = mo.ui.run_button(label="Ask")
    mo.vstack([mo.md("## Ask the warehouse"), question, run])
    return question, run


@app.cell
def _(ask, mo, question, run):
    from pushloss_pipeline.domain.errors import PushLossError

    mo.stop(not run.value)
    try:
        answer = mo.ui.table(ask(question.value), selection=None)
    except PushLossError as problem:
        answer = mo.callout(mo.plain_text(str(problem)), kind="danger")
    answer


if __name__ == "__main__":
    app.run()
