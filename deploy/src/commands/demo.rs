//! `quittance demo`: the scripted day.

use super::{Context, Exit};

pub(crate) async fn run(context: Context<'_>) -> anyhow::Result<Exit> {
    let all_right = crate::demo::run(context.out, context.form).await?;
    Ok(if all_right { Exit::Done } else { Exit::Failed })
}
