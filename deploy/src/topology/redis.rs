//! Whether Redis keeps what it is told: eviction and persistence.

use std::collections::BTreeMap;
use std::time::Duration;

use quittance_common::settings::Credential;
use secrecy::ExposeSecret as _;
use tokio::time::timeout;

use super::{Finding, Severity};

/// For the connection and both questions together.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The settings that claims rely on: the key, the value, what happens otherwise.
const NEEDED: [(&str, &str, &str); 2] = [
    (
        "maxmemory-policy",
        "noeviction",
        "claims are evicted, duplicates reach the database",
    ),
    (
        "appendonly",
        "yes",
        "a restart forgets claims, duplicates reach the database",
    ),
];

/// Looks at a Redis that can be reached; says so when it cannot.
pub(super) async fn check(url: &Credential) -> Vec<Finding> {
    match timeout(TIMEOUT, read(url)).await {
        Ok(Ok(found)) => judge(&found),
        // The error's kind only: its text may quote the URL.
        Ok(Err(error)) => vec![unchecked(&format!("{:?}", error.kind()))],
        Err(_) => vec![unchecked(&format!("no answer within {TIMEOUT:?}"))],
    }
}

fn unchecked(why: &str) -> Finding {
    let text = format!("eviction and persistence could not be read: {why}");
    Finding::new(Severity::Unchecked, "redis", text)
}

async fn read(url: &Credential) -> redis::RedisResult<BTreeMap<String, String>> {
    let client = redis::Client::open(url.now().expose_secret())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut found = BTreeMap::new();
    for (key, _, _) in NEEDED {
        let pairs: BTreeMap<String, String> = redis::cmd("CONFIG")
            .arg("GET")
            .arg(key)
            .query_async(&mut connection)
            .await?;
        found.extend(pairs);
    }
    Ok(found)
}

fn judge(found: &BTreeMap<String, String>) -> Vec<Finding> {
    NEEDED
        .into_iter()
        .filter_map(|(key, wanted, otherwise)| {
            let value = found.get(key).map_or("not set", String::as_str);
            (value != wanted).then(|| {
                let text = format!("{key} is {value}, not {wanted}: {otherwise}");
                Finding::new(Severity::Difference, "redis", text)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eviction_and_missing_persistence_are_differences() {
        let found = |policy: &str, appendonly: &str| {
            judge(&BTreeMap::from([
                ("maxmemory-policy".to_owned(), policy.to_owned()),
                ("appendonly".to_owned(), appendonly.to_owned()),
            ]))
        };
        assert!(found("noeviction", "yes").is_empty());
        assert_eq!(found("allkeys-lru", "no").len(), 2);
        assert_eq!(judge(&BTreeMap::new()).len(), 2);
    }

    #[tokio::test]
    async fn a_redis_that_cannot_be_reached_is_unchecked_and_its_password_is_not_shown() {
        let url = Credential::from("redis://:hunter2@127.0.0.1:1");
        let findings = check(&url).await;
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].severity, Severity::Unchecked);
        assert!(!findings[0].text.contains("hunter2"));
    }
}
