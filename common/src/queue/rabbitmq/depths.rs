//! How full the queues are, and what stands first: by the HTTP API where it is set, else by passive declarations.
//!
//! AMQP alone tells ready messages and consumers, not what consumers hold: `unacked` is unknown then.

use std::collections::BTreeMap;

use lapin::Channel;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;
use serde_json::Value;

use super::declare::{bounded, short, soft_error};
use super::link::Live;
use super::management::{Management, ManagementError};
use super::wire;
use crate::clock;
use crate::message::Message;
use crate::queue::{Depth, QueueError, QueueNames};

/// Asks the HTTP API; queues that do not exist are left out.
pub(super) async fn by_management(
    management: &Management,
    names: &QueueNames,
) -> Result<Vec<Depth>, ManagementError> {
    let listed = management.get(&["queues", "{vhost}"]).await?;
    Ok(read(&listed.unwrap_or_default(), names))
}

/// Reads `GET /api/queues/{vhost}` into the table's order.
fn read(listed: &Value, names: &QueueNames) -> Vec<Depth> {
    let by_name: BTreeMap<&str, &Value> = listed
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|queue| Some((queue.get("name")?.as_str()?, queue)))
        .collect();
    names
        .all()
        .into_iter()
        .filter_map(|id| {
            let name = names.name(id);
            let queue = by_name.get(name.as_str())?;
            // A queue that is just made has no figures yet.
            let count = |key| queue.get(key).and_then(Value::as_u64).unwrap_or_default();
            Some(Depth {
                ready: count("messages_ready"),
                unacked: Some(count("messages_unacknowledged")),
                consumers: count("consumers"),
                queue: name,
            })
        })
        .collect()
}

/// Asks by passive declarations; queues that do not exist are left out.
pub(super) async fn by_amqp(live: &Live, names: &QueueNames) -> Result<Vec<Depth>, QueueError> {
    let unavailable = |error: lapin::Error| QueueError::Unavailable(error.to_string());
    let mut depths = Vec::new();
    let mut channel = bounded(live.connection().create_channel())
        .await
        .map_err(unavailable)?;
    for id in names.all() {
        let queue = names.name(id);
        match passive(&channel, &queue).await {
            Ok((ready, consumers)) => depths.push(Depth {
                queue,
                ready,
                unacked: None,
                consumers,
            }),
            // A refusal closes the channel.
            Err(error) if is_missing(&error) => {
                channel = bounded(live.connection().create_channel())
                    .await
                    .map_err(unavailable)?;
            }
            Err(error) => return Err(unavailable(error)),
        }
    }
    Ok(depths)
}

/// Asks about one queue; `None` when it does not exist.
pub(super) async fn one(live: &Live, queue: String) -> Result<Option<Depth>, QueueError> {
    let unavailable = |error: lapin::Error| QueueError::Unavailable(error.to_string());
    let channel = bounded(live.connection().create_channel())
        .await
        .map_err(unavailable)?;
    match passive(&channel, &queue).await {
        Ok((ready, consumers)) => Ok(Some(Depth {
            queue,
            ready,
            unacked: None,
            consumers,
        })),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(unavailable(error)),
    }
}

/// The message that would be handed out next, without a consumer: taken, and given back.
pub(super) async fn head(live: &Live, queue: &str) -> Result<Option<Message>, QueueError> {
    let unavailable = |error: lapin::Error| QueueError::Unavailable(error.to_string());
    let channel = bounded(live.connection().create_channel())
        .await
        .map_err(unavailable)?;
    let name = short(queue).map_err(unavailable)?;
    let got = match bounded(channel.basic_get(name, BasicGetOptions::default())).await {
        Ok(got) => got,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(unavailable(error)),
    };
    let Some(got) = got else { return Ok(None) };
    let delivery = got.delivery;
    let message = wire::decode(&delivery.properties, delivery.data, clock::now());
    // The end of its channel puts it back where it was; a quorum queue without a delivery limit
    // would put it behind all others when it is rejected.
    bounded(channel.close(200, "".into()))
        .await
        .map_err(unavailable)?;
    Ok(Some(message))
}

/// Ready messages and consumers of a queue that must be there. Answered after whatever was asked
/// on the channel before.
pub(super) async fn passive(channel: &Channel, queue: &str) -> lapin::Result<(u64, u64)> {
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let found =
        bounded(channel.queue_declare(short(queue)?, options, FieldTable::default())).await?;
    Ok((
        u64::from(found.message_count()),
        u64::from(found.consumer_count()),
    ))
}

fn is_missing(error: &lapin::Error) -> bool {
    matches!(soft_error(error), Some((AMQPSoftError::NOTFOUND, _)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_listing_is_read_in_the_order_of_the_table_without_foreign_queues() {
        let listed = json!([
            {"name": "ipn.quarantine", "messages_ready": 3},
            {"name": "somebody.else", "messages_ready": 9},
            {"name": "ipn.verify", "messages_ready": 1, "messages_unacknowledged": 2, "consumers": 4},
        ]);
        let depths = read(&listed, &QueueNames::default());
        let verify = Depth {
            queue: "ipn.verify".into(),
            ready: 1,
            unacked: Some(2),
            consumers: 4,
        };
        let quarantine = Depth {
            queue: "ipn.quarantine".into(),
            ready: 3,
            unacked: Some(0),
            consumers: 0,
        };
        assert_eq!(depths, [verify, quarantine]);
    }
}
