//! Renders the subset of Kustomize that `deploy/kubernetes` uses, so that the checks need no
//! `kubectl`. A golden file made by `kubectl kustomize` keeps this honest.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{is_of_the_cluster, kind, name, text};

/// The objects of a folder with a `kustomization.yaml`.
pub fn render(folder: &Path) -> anyhow::Result<Vec<Value>> {
    let mut objects = Vec::new();
    extend(folder, &mut objects)?;
    Ok(objects)
}

/// Every document of a YAML file.
pub fn documents(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_saphyr::from_multiple(&text).with_context(|| format!("reading {}", path.display()))
}

/// Where two values differ first, and how; `None` when they are equal.
pub fn difference(left: &Value, right: &Value) -> Option<String> {
    match (left, right) {
        (Value::Object(one), Value::Object(other)) => one
            .keys()
            .chain(other.keys())
            .find_map(|key| {
                let (left, right) = (left.get(key)?, right.get(key)?);
                Some(format!("/{key}{}", difference(left, right)?))
            })
            .or_else(|| {
                let lone = |a: &Value, b: &Value| -> Option<String> {
                    a.as_object()?
                        .keys()
                        .find(|key| b.get(key.as_str()).is_none())
                        .cloned()
                };
                let key = lone(left, right).or_else(|| lone(right, left))?;
                Some(format!("/{key}: only one of both has it"))
            }),
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => one
            .iter()
            .zip(other)
            .enumerate()
            .find_map(|(at, (left, right))| Some(format!("/{at}{}", difference(left, right)?))),
        _ if left == right => None,
        _ => Some(format!(": {left} and {right}")),
    }
}

/// Adds a kustomization's objects. A component changes what is there already; a resource is
/// rendered by itself first.
fn extend(folder: &Path, objects: &mut Vec<Value>) -> anyhow::Result<()> {
    let file = folder.join("kustomization.yaml");
    let kustomization = documents(&file)?.pop().context("an empty kustomization")?;
    known_fields(&kustomization).with_context(|| file.display().to_string())?;
    for entry in ["resources", "components"] {
        for path in list(&kustomization, entry) {
            let path = folder.join(path.as_str().context("a path")?);
            if entry == "components" {
                extend(&path, objects)?;
            } else if path.is_dir() {
                objects.extend(render(&path)?);
            } else {
                objects.extend(documents(&path)?);
            }
        }
    }
    for generator in list(&kustomization, "configMapGenerator") {
        generate(folder, generator, objects)?;
    }
    for patch in list(&kustomization, "patches") {
        apply(patch, objects)?;
    }
    if let Some(namespace) = kustomization.get("namespace") {
        for object in objects.iter_mut().filter(|one| !is_of_the_cluster(one)) {
            set(object, "/metadata", "namespace", namespace);
        }
    }
    for labels in list(&kustomization, "labels") {
        for (key, value) in labels["pairs"].as_object().into_iter().flatten() {
            for object in objects.iter_mut() {
                if object.pointer("/metadata/labels").is_none() {
                    set(object, "/metadata", "labels", &json!({}));
                }
                set(object, "/metadata/labels", key, value);
            }
        }
    }
    for image in list(&kustomization, "images") {
        rename_image(image, objects);
    }
    Ok(())
}

/// Puts a field into the table at a JSON pointer, if that is one.
fn set(object: &mut Value, pointer: &str, field: &str, value: &Value) {
    if let Some(Value::Object(table)) = object.pointer_mut(pointer) {
        table.insert(field.to_owned(), value.clone());
    }
}

/// A field that this renderer does not know must not be passed over in silence.
fn known_fields(kustomization: &Value) -> anyhow::Result<()> {
    const KNOWN: [&str; 9] = [
        "apiVersion",
        "kind",
        "resources",
        "components",
        "configMapGenerator",
        "patches",
        "namespace",
        "labels",
        "images",
    ];
    for field in kustomization.as_object().context("a table")?.keys() {
        if !KNOWN.contains(&field.as_str()) {
            bail!("the field `{field}` is not rendered by the checks; extend tests/src/manifests");
        }
    }
    Ok(())
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value
        .get(field)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn generate(folder: &Path, generator: &Value, objects: &mut Vec<Value>) -> anyhow::Result<()> {
    let plain = text(generator, "/name").to_owned();
    let mut data = serde_json::Map::new();
    for file in list(generator, "files") {
        let file = file.as_str().context("a file")?;
        let content = fs::read_to_string(folder.join(file))?;
        data.insert(file.to_owned(), Value::from(content));
    }
    let full = format!("{plain}-{}", content_hash(&data)?);
    for object in objects.iter_mut() {
        let volumes = object
            .pointer_mut("/spec/template/spec/volumes")
            .and_then(Value::as_array_mut);
        for volume in volumes.into_iter().flatten() {
            if let Some(name) = volume.pointer_mut("/configMap/name")
                && *name == json!(plain)
            {
                *name = json!(full);
            }
        }
    }
    objects.push(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": full}, "data": data,
    }));
    Ok(())
}

/// Kustomize's suffix: the first ten digits of a SHA-256 over the content as JSON, with the
/// digits that could spell a word replaced. The name is not part of it.
fn content_hash(data: &serde_json::Map<String, Value>) -> anyhow::Result<String> {
    // Go escapes these in JSON, for HTML's sake.
    let content = serde_json::to_string(&json!({"data": data, "kind": "ConfigMap", "name": ""}))?
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026");
    let digest = Sha256::digest(content.as_bytes());
    Ok(digest
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .take(10)
        .map(|digit| match digit {
            0 => 'g',
            1 => 'h',
            3 => 'k',
            10 => 'm',
            14 => 't',
            other => char::from_digit(u32::from(other), 16).unwrap_or('?'),
        })
        .collect())
}

/// One JSON patch on every object of its target.
fn apply(patch: &Value, objects: &mut [Value]) -> anyhow::Result<()> {
    let operations: Vec<Value> = serde_saphyr::from_str(text(patch, "/patch"))?;
    let mut found = false;
    for object in objects.iter_mut() {
        if kind(object) == text(patch, "/target/kind")
            && name(object) == text(patch, "/target/name")
        {
            found = true;
            for operation in &operations {
                change(object, operation)?;
            }
        }
    }
    if !found {
        bail!("a patch has no target: {}", patch["target"]);
    }
    Ok(())
}

fn change(object: &mut Value, operation: &Value) -> anyhow::Result<()> {
    let path = text(operation, "/path");
    let (parent, field) = path.rsplit_once('/').context("a path")?;
    let parent = object
        .pointer_mut(parent)
        .with_context(|| format!("nothing at {path}"))?;
    if let (Value::Array(list), "add", "-") = (&mut *parent, text(operation, "/op"), field) {
        list.push(operation["value"].clone());
        return Ok(());
    }
    let parent = parent
        .as_object_mut()
        .with_context(|| format!("no table at {path}"))?;
    let before = match text(operation, "/op") {
        "add" => {
            parent.insert(field.to_owned(), operation["value"].clone());
            return Ok(());
        }
        "remove" => parent.remove(field),
        "replace" => parent.insert(field.to_owned(), operation["value"].clone()),
        other => bail!("the operation `{other}` is not rendered by the checks"),
    };
    before.with_context(|| format!("nothing at {path}"))?;
    Ok(())
}

fn rename_image(image: &Value, objects: &mut [Value]) {
    let new_name = image.get("newName").unwrap_or(&image["name"]);
    let new_name = new_name.as_str().unwrap_or_default();
    let full = match (image.get("digest"), image.get("newTag")) {
        (Some(digest), _) => format!("{new_name}@{}", digest.as_str().unwrap_or_default()),
        (None, Some(tag)) => format!("{new_name}:{}", tag.as_str().unwrap_or_default()),
        (None, None) => new_name.to_owned(),
    };
    for object in objects {
        let containers = object
            .pointer_mut("/spec/template/spec/containers")
            .and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            if container["image"] == image["name"] {
                container["image"] = json!(full);
            }
        }
    }
}
