//! Where scenarios are found: in the folder `scenarios` of the current folder or of one above it; else in this binary, which
//! carries those that it was built with. An argument may also be the path of a file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::Scenario;
use super::diagnostic::{FileError, unknown_name};
use super::parse::{Vocabulary, name_of, scenario};
use crate::explore::milestone;
use crate::{invariant, protocol};

/// The scenarios of this repository. A test holds the list to the folder.
const BUILT_IN: &[(&str, &str)] = &[
    ("cross-stream-projection", include_str!("../../../scenarios/cross-stream-projection.toml")),
    ("dead-letter-after-rollback", include_str!("../../../scenarios/dead-letter-after-rollback.toml")),
    ("drain-crashes", include_str!("../../../scenarios/drain-crashes.toml")),
    ("drain-once", include_str!("../../../scenarios/drain-once.toml")),
    ("end-race-naive", include_str!("../../../scenarios/end-race-naive.toml")),
    ("end-race-skip-records", include_str!("../../../scenarios/end-race-skip-records.toml")),
    ("lock-and-read", include_str!("../../../scenarios/lock-and-read.toml")),
    ("lock-the-flip", include_str!("../../../scenarios/lock-the-flip.toml")),
    ("plain-read-epoch", include_str!("../../../scenarios/plain-read-epoch.toml")),
    ("standard", include_str!("../../../scenarios/standard.toml")),
    ("start-race-fenced", include_str!("../../../scenarios/start-race-fenced.toml")),
    ("start-race-naive", include_str!("../../../scenarios/start-race-naive.toml")),
    ("two-rebuilders", include_str!("../../../scenarios/two-rebuilders.toml")),
    ("ungated-drain-order", include_str!("../../../scenarios/ungated-drain-order.toml")),
    ("wait-for-running", include_str!("../../../scenarios/wait-for-running.toml")),
    ("xid-boundary", include_str!("../../../scenarios/xid-boundary.toml")),
    ("xmax-fence", include_str!("../../../scenarios/xmax-fence.toml")),
];

/// The scenarios that can be named.
#[derive(Clone, Debug)]
pub struct Library {
    folder: Option<PathBuf>,
    names: Vec<String>,
    vocabulary: Vocabulary,
}

/// Why a scenario cannot be had.
#[derive(Debug)]
pub enum LibraryError {
    /// No scenario has that name: what there is.
    Unknown(String),
    /// Its file is wrong.
    File(FileError),
    /// Its file or folder cannot be read.
    Io(PathBuf, io::Error),
}

impl fmt::Display for LibraryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(message) => f.write_str(message),
            Self::File(error) => error.fmt(f),
            Self::Io(path, error) => write!(f, "cannot read {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for LibraryError {}

impl Library {
    /// Of the folder `scenarios` in `from` or the nearest folder above it that has one, else what is built in.
    pub fn find(from: &Path) -> Result<Self, LibraryError> {
        match from.ancestors().map(|folder| folder.join("scenarios")).find(|folder| folder.is_dir()) {
            Some(folder) => Self::of_folder(&folder),
            None => Ok(Self::built_in()),
        }
    }

    /// Of the files `*.toml` in `folder`.
    pub fn of_folder(folder: &Path) -> Result<Self, LibraryError> {
        let failed = |error| LibraryError::Io(folder.to_owned(), error);
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                names.push(name_of(&path));
            }
        }
        names.sort();
        Ok(Self { folder: Some(folder.to_owned()), names, vocabulary: vocabulary() })
    }

    /// Of what this binary was built with.
    pub fn built_in() -> Self {
        let names = BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).collect();
        Self { folder: None, names, vocabulary: vocabulary() }
    }

    /// The names, sorted.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The names that scenarios and schedule files may use.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The scenario that `argument` means: a path where it looks like one, else a name.
    pub fn load(&self, argument: &str) -> Result<Scenario, LibraryError> {
        let path = Path::new(argument);
        if path.components().count() > 1 || path.extension().is_some_and(|extension| extension == "toml") {
            return self.read(path);
        }
        if !self.names.iter().any(|name| name == argument) {
            let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
            return Err(LibraryError::Unknown(unknown_name("scenario", argument, &names)));
        }
        if let Some(folder) = &self.folder {
            return self.read(&folder.join(format!("{argument}.toml")));
        }
        let (name, text) = BUILT_IN.iter().find(|(name, _)| *name == argument).expect("it is among the names");
        self.parse(Path::new(&format!("<built in>/{name}.toml")), text)
    }

    /// All scenarios, by name.
    pub fn all(&self) -> Result<Vec<Scenario>, LibraryError> {
        self.names.iter().map(|name| self.load(name)).collect()
    }

    fn read(&self, path: &Path) -> Result<Scenario, LibraryError> {
        let text = fs::read_to_string(path).map_err(|error| LibraryError::Io(path.to_owned(), error))?;
        self.parse(path, &text)
    }

    fn parse(&self, path: &Path, text: &str) -> Result<Scenario, LibraryError> {
        scenario(path, text, &self.vocabulary).map_err(LibraryError::File)
    }
}

fn vocabulary() -> Vocabulary {
    Vocabulary {
        protocols: protocol::all().iter().map(|protocol| protocol.name()).collect(),
        invariants: invariant::all().iter().map(|invariant| invariant.name).collect(),
        milestones: milestone::all().iter().map(|milestone| milestone.name).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> Library {
        Library::find(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn what_is_built_in_is_what_is_in_the_folder() {
        let (built_in, folder) = (Library::built_in(), repository());
        assert_eq!(built_in.names(), folder.names());
        for name in folder.names() {
            let (mut built_in, folder) = (built_in.load(name).unwrap(), folder.load(name).unwrap());
            built_in.path.clone_from(&folder.path);
            assert_eq!(built_in, folder, "rebuild: a scenario has changed");
        }
    }

    #[test]
    fn a_folder_is_found_upward_and_a_path_is_a_path() {
        let library = Library::find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/scenario")).unwrap();
        let by_name = library.load("standard").unwrap();
        let by_path = library.load(by_name.path.to_str().unwrap()).unwrap();
        assert_eq!(by_name, by_path);
        assert!(Library::find(Path::new("/")).unwrap().folder.is_none());
    }

    #[test]
    fn what_is_not_there_is_said() {
        let error = repository().load("standart").unwrap_err().to_string();
        assert!(error.starts_with("unknown scenario \"standart\"\nexpected one of: "), "{error}");
        assert!(error.ends_with("did you mean \"standard\"?"), "{error}");
        let error = repository().load("nowhere/x.toml").unwrap_err().to_string();
        assert_eq!(error, "cannot read nowhere/x.toml: No such file or directory (os error 2)");
    }
}
