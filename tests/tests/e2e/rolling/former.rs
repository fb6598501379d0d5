//! Messages of the former format, published as they were then, byte for byte, not by today's code.
//!
//! Former means: version 1 of each type as the first build wrote it, which had no trace, no
//! address of the peer, no bound order, no subscription and no note of what the checks found. The
//! files are frozen. `FORMER` stands for a number of five digits, so that each copy is a message
//! of its own.

use anyhow::{Context as _, ensure};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::Value;

use crate::pipeline::Pipeline;

const FILES: [(&str, &str); 3] = [
    (
        "verify",
        include_str!("../../../golden/former/notification-v1.json"),
    ),
    (
        "fulfil",
        include_str!("../../../golden/former/payment-v1.json"),
    ),
    (
        "notify",
        include_str!("../../../golden/former/announcement-v1.json"),
    ),
];

/// A connection to the broker beside the pipeline's own.
pub(super) struct Former {
    channel: Channel,
    prefix: String,
    published: u32,
    _connection: Connection,
}

impl Former {
    pub(super) async fn connect(pipeline: &Pipeline) -> anyhow::Result<Self> {
        let settings: toml::Table = pipeline.world.settings().parse()?;
        let text = |value: Option<&toml::Value>| {
            let text = value.and_then(toml::Value::as_str);
            text.map(str::to_owned).context("a text in the settings")
        };
        let url = text(settings["cluster"].get("amqp_url"))?;
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Self {
            channel,
            prefix: text(settings.get("queue_prefix"))?,
            published: 0,
            _connection: connection,
        })
    }

    /// Publishes one of each. Gives the transactions that the books will have.
    pub(super) async fn publish(&mut self, pipeline: &Pipeline) -> anyhow::Result<[String; 2]> {
        self.published += 1;
        let number = format!("{:05}", self.published);
        for (queue, file) in FILES {
            let message: Value = serde_json::from_str(&file.replace("FORMER", &number))?;
            let body = match &message["body"] {
                Value::String(form) => {
                    // The gateway has sent it, before the update.
                    pipeline.sandbox.register(&form.clone().into());
                    form.clone()
                }
                json => json.to_string(),
            };
            let confirm = self
                .channel
                .basic_publish(
                    "".into(),
                    format!("{}{queue}", self.prefix).into(),
                    BasicPublishOptions {
                        mandatory: true,
                        ..BasicPublishOptions::default()
                    },
                    body.as_bytes(),
                    properties(&message)?,
                )
                .await?
                .await?;
            ensure!(confirm.is_ack(), "{queue}: not taken by the broker");
        }
        Ok([
            format!("{number}RAW{number}"),
            format!("{number}EVENT{number}"),
        ])
    }

    /// How many announcements were published, each of which is a mail.
    pub(super) const fn announcements(&self) -> u32 {
        self.published
    }
}

fn properties(message: &Value) -> anyhow::Result<BasicProperties> {
    let text = |name: &str| message[name].as_str().context("a text in the file");
    let mut headers = FieldTable::default();
    for (name, value) in message["headers"].as_object().context("headers")? {
        let value = value.as_str().context("a text in the file")?;
        headers.insert(name.as_str().into(), AMQPValue::LongString(value.into()));
    }
    Ok(BasicProperties::default()
        .with_delivery_mode(2)
        .with_app_id("quittance".into())
        .with_type(text("type")?.into())
        .with_content_type(text("content_type")?.into())
        .with_message_id(text("message_id")?.into())
        .with_timestamp(1_795_341_600)
        .with_headers(headers))
}
