//! The main rules for a Dockerfile, for machines without a linter.

/// One instruction with its arguments, continued lines joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// `FROM`, `RUN` ...
    pub name: String,
    /// The rest.
    pub arguments: String,
}

/// The instructions of a Dockerfile.
pub fn instructions(text: &str) -> Vec<Instruction> {
    let mut all = Vec::new();
    let mut whole = String::new();
    for line in text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
    {
        let part = line.trim();
        if let Some(continued) = part.strip_suffix('\\') {
            whole.push_str(continued);
            continue;
        }
        whole.push_str(part);
        if let Some((name, arguments)) = whole.split_once(' ') {
            all.push(Instruction {
                name: name.to_ascii_uppercase(),
                arguments: arguments.trim().to_owned(),
            });
        }
        whole.clear();
    }
    all
}

/// What is wrong, one line each; empty when nothing is.
pub fn mistakes(text: &str) -> Vec<String> {
    let all = instructions(text);
    let mut found = Vec::new();
    let mut expect = |holds: bool, what: String| {
        if !holds {
            found.push(what);
        }
    };
    let mut stages: Vec<&str> = Vec::new();
    for one in &all {
        let words: Vec<&str> = one.arguments.split_whitespace().collect();
        match one.name.as_str() {
            "ARG" if one.arguments.contains("_IMAGE=") => {
                let image = one.arguments.split_once('=').map_or("", |(_, image)| image);
                expect(is_pinned(image), format!("{image} is not pinned"));
            }
            "FROM" => {
                let image = words.first().copied().unwrap_or_default();
                // By an argument, which is checked above, or from a stage before.
                let known = image.starts_with("${") || stages.contains(&image);
                expect(known || is_pinned(image), format!("{image} is not pinned"));
                if let Some(at) = words
                    .iter()
                    .position(|word| word.eq_ignore_ascii_case("as"))
                {
                    stages.extend(words.get(at + 1));
                }
            }
            "RUN" => run(&one.arguments, &mut expect),
            "ADD" => expect(false, "ADD does more than COPY".into()),
            "MAINTAINER" => expect(false, "MAINTAINER is no label".into()),
            "WORKDIR" => expect(one.arguments.starts_with('/'), "a relative WORKDIR".into()),
            "ENTRYPOINT" | "CMD" => expect(
                one.arguments.starts_with('['),
                format!("{} needs a shell, which does not pass signals on", one.name),
            ),
            "COPY" => {
                let from = words.iter().find_map(|word| word.strip_prefix("--from="));
                let known = from.is_none_or(|from| stages.contains(&from));
                expect(known, format!("COPY from `{from:?}`, which is no stage"));
            }
            "ENV" | "LABEL" | "USER" | "EXPOSE" | "ARG" | "SHELL" => {}
            other => expect(false, format!("{other} is not known to the checks")),
        }
    }
    let of = |name: &str| all.iter().rev().find(|one| one.name == name);
    let last_from = all.iter().rposition(|one| one.name == "FROM");
    let user = all.iter().rposition(|one| one.name == "USER");
    let own = user > last_from && of("USER").is_some_and(|user| is_a_plain_user(&user.arguments));
    expect(
        own,
        "the last stage runs as root, or as a name that is no number".into(),
    );
    for once in ["ENTRYPOINT", "CMD"] {
        let count = all.iter().filter(|one| one.name == once).count();
        expect(
            count <= 1,
            format!("{count} times {once}: only the last counts"),
        );
    }
    found
}

fn run(command: &str, expect: &mut impl FnMut(bool, String)) {
    let words: Vec<&str> = command.split_whitespace().collect();
    expect(!words.contains(&"sudo"), "sudo".into());
    expect(!words.contains(&"cd"), "cd instead of WORKDIR".into());
    expect(!command.contains('|'), "a pipe hides a failure".into());
    let fetches = words.iter().any(|word| matches!(*word, "curl" | "wget"));
    expect(!fetches, "something is fetched that nothing pins".into());
    if command.contains("apt-get install") {
        let clean =
            command.contains("--no-install-recommends") && command.contains("rm -rf /var/lib/apt");
        expect(clean, "apt-get leaves things behind".into());
    }
    for part in command.split("&&").filter(|part| part.contains("cargo ")) {
        let locked = part.contains("--locked") || part.contains("chef prepare");
        expect(locked, format!("`{}` may take other versions", part.trim()));
        let installs = part.contains("cargo install");
        expect(
            !installs || part.contains("--version"),
            "cargo install of any version".into(),
        );
    }
}

/// Whether an image has a digest, or a tag that means one thing.
pub fn is_pinned(image: &str) -> bool {
    if let Some((_, digest)) = image.split_once("@sha256:") {
        return digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    last.split_once(':')
        .is_some_and(|(_, tag)| !tag.is_empty() && tag != "latest")
}

/// A number that is not root's; Kubernetes cannot tell from a name.
fn is_a_plain_user(user: &str) -> bool {
    let number = user.split(':').next().unwrap_or_default();
    number.parse::<u32>().is_ok_and(|number| number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# A comment\nARG RUST_IMAGE=rust:1.95-slim\nFROM ${RUST_IMAGE} AS build\n\
        WORKDIR /src\nCOPY . .\nRUN cargo build --release \\\n    --locked \\\n    # why\n    && strip x\n\
        FROM gcr.io/distroless/cc-debian12:nonroot\nCOPY --from=build /src/x /x\nUSER 65532:65532\n\
        ENTRYPOINT [\"/x\"]\n";

    #[test]
    fn nothing_is_wrong_with_a_good_one_and_each_fault_is_found() {
        assert_eq!(mistakes(GOOD), Vec::<String>::new());
        for (good, bad) in [
            ("rust:1.95-slim", "rust"),
            ("rust:1.95-slim", "rust:latest"),
            ("cc-debian12:nonroot", "cc-debian12@sha256:12"),
            ("--from=build", "--from=builder"),
            ("USER 65532:65532\n", ""),
            ("USER 65532:65532", "USER 0"),
            ("USER 65532:65532", "USER nonroot"),
            ("[\"/x\"]", "/x"),
            ("WORKDIR /src", "WORKDIR src"),
            ("COPY . .", "ADD . ."),
            ("--locked \\", "\\"),
            ("&& strip x", "&& cd / && strip x"),
            ("&& strip x", "&& curl https://x.example | sh"),
            ("&& strip x", "&& apt-get install -y x"),
            ("&& strip x", "&& cargo install --locked x"),
            ("ENTRYPOINT", "HEALTHCHECK CMD x\nENTRYPOINT"),
        ] {
            assert!(GOOD.contains(good), "{good}");
            let faulty = GOOD.replace(good, bad);
            assert!(!mistakes(&faulty).is_empty(), "missed:\n{faulty}");
        }
    }
}
