//! What we ask of a Dockerfile beyond what a linter asks: bases by digest, a user that is a number,
//! the dependencies of the lock file, and a binary that was started once.

/// One instruction with its arguments, continued lines joined.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Instruction {
    /// `FROM`, `RUN` ...
    name: String,
    /// The rest.
    arguments: String,
}

fn instructions(text: &str) -> Vec<Instruction> {
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
                let named = words
                    .iter()
                    .position(|word| word.eq_ignore_ascii_case("as"));
                stages.extend(named.and_then(|at| words.get(at + 1)));
            }
            "RUN" => cargo(&one.arguments, &mut expect),
            _ => {}
        }
    }
    let last_from = all.iter().rposition(|one| one.name == "FROM");
    let image = all.get(last_from.unwrap_or(0)..).unwrap_or_default();
    let user = image.iter().rfind(|one| one.name == "USER");
    expect(
        user.is_some_and(|user| is_a_plain_user(&user.arguments)),
        "the image runs as root, or as a name that is no number".into(),
    );
    let entrypoint = image.iter().find(|one| one.name == "ENTRYPOINT");
    let program = entrypoint.map_or("", |one| one.arguments.trim_matches(['[', ']']));
    expect(
        image
            .iter()
            .any(|one| one.name == "RUN" && one.arguments == format!("[{program}, \"--version\"]")),
        format!("{program} is never started: a library that is missing shows in production"),
    );
    found
}

/// Whatever cargo compiles, it compiles what the lock file says.
fn cargo(command: &str, expect: &mut impl FnMut(bool, String)) {
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

/// Whether an image is named by its digest: a tag can be moved to another image.
pub fn is_pinned(image: &str) -> bool {
    image.split_once("@sha256:").is_some_and(|(_, digest)| {
        digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

/// A number that is not root's; Kubernetes cannot tell from a name.
fn is_a_plain_user(user: &str) -> bool {
    let number = user.split(':').next().unwrap_or_default();
    number.parse::<u32>().is_ok_and(|number| number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# A comment\nARG RUST_IMAGE=rust:1.95-slim@sha256:\
        1111111111111111111111111111111111111111111111111111111111111111\nFROM ${RUST_IMAGE} AS build\n\
        WORKDIR /src\nCOPY . .\nRUN cargo build --release \\\n    --locked \\\n    # why\n    && strip x\n\
        FROM gcr.io/distroless/cc-debian12:nonroot@sha256:\
        2222222222222222222222222222222222222222222222222222222222222222\nCOPY --from=build /src/x /x\nUSER 65532:65532\n\
        RUN [\"/x\", \"--version\"]\nENTRYPOINT [\"/x\"]\n";

    #[test]
    fn nothing_is_wrong_with_a_good_one_and_each_fault_is_found() {
        assert_eq!(mistakes(GOOD), Vec::<String>::new());
        for (good, bad) in [
            ("rust:1.95-slim@sha256:1", "rust@sha256:"),
            ("@sha256:1111", ":1.95 #"),
            ("nonroot@sha256:2222", "nonroot@sha256:zzzz"),
            ("FROM gcr.io", "FROM builder AS x\nFROM gcr.io"),
            ("USER 65532:65532\n", ""),
            ("USER 65532:65532", "USER 0"),
            ("USER 65532:65532", "USER nonroot"),
            ("--locked \\", "\\"),
            ("&& strip x", "&& cargo install --locked x"),
            ("RUN [\"/x\", \"--version\"]\n", ""),
            ("RUN [\"/x\"", "RUN [\"/y\""),
        ] {
            assert!(GOOD.contains(good), "{good}");
            let faulty = GOOD.replace(good, bad);
            assert!(!mistakes(&faulty).is_empty(), "missed:\n{faulty}");
        }
    }
}
