//! Who is at the keyboard, for what is written down about a person's doing.

/// The name of the user that this process belongs to, or else the number.
pub(crate) fn system_user() -> String {
    let uid = rustix::process::getuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    users
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        })
        .unwrap_or_else(|| format!("uid {uid}"))
}

/// The same, or the person who became that user by `sudo`.
pub(crate) fn person() -> String {
    std::env::var("SUDO_USER")
        .ok()
        .filter(|who| !who.is_empty())
        .unwrap_or_else(system_user)
}
