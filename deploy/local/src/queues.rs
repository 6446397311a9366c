//! Which queues there are: the names in the queues file, and nothing else of it. The dispatcher reads the rest, and says
//! what is wrong with it.

use std::path::Path;

use crate::error::LocalError;

/// Names of the queues in the file at `path`.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, LocalError> {
    let text = std::fs::read_to_string(path).map_err(LocalError::file(path))?;
    parse(&text).map_err(|reason| LocalError::Queues { path: path.to_owned(), reason })
}

fn parse(text: &str) -> Result<Vec<String>, String> {
    let file: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    match file.get("queue") {
        Some(toml::Value::Table(queues)) => Ok(queues.keys().cloned().collect()),
        Some(_) => Err("`queue` must be a table for each queue, as in [queue.thumbnail]".to_owned()),
        None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn each_table_under_queue_is_one() {
        let file = "[defaults]\nlease = \"8s\"\n[queue.thumbnail]\nproto = \"x\"\n[queue.email]\nproto = \"y\"\n";
        assert_eq!(parse(file).unwrap(), ["email", "thumbnail"]);
        assert_eq!(parse("").unwrap(), Vec::<String>::new());
        assert!(parse("queue = 3").is_err());
        assert!(parse("[queue").is_err());
    }

    #[test]
    fn the_projects_own_file_has_thumbnails() {
        // A new worker adds its queue there and changes nothing here.
        assert!(parse(include_str!("../queues.toml")).unwrap().contains(&"thumbnail".to_owned()));
    }
}
