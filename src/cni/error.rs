//! The errors of an execution, with their codes in CNI's terms.
//!
//! The CNI specification (1.1.0, "Error") reserves the codes below 100. The codes from 100 on
//! belong to this plugin. `docs/OPERATIONS.md` explains them to people.

use whereabouts_apiserver::Unusable;
use whereabouts_core::verbs;

use crate::request::RequestError;

/// The reason why an execution failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The invocation is not a valid request.
    #[error(transparent)]
    Request(Box<RequestError>),
    /// The verb failed.
    #[error(transparent)]
    Verb(Box<verbs::Error>),
    /// The kubeconfig leads to no API server.
    #[error("kubernetes.kubeconfig: {0}")]
    Kubeconfig(#[from] Unusable),
    /// The process cannot wait for input and time.
    #[error("the process cannot be set up: {0}")]
    NoRuntime(std::io::ErrorKind),
    /// An ADD has no standard output for its answer.
    #[error("standard output is closed: the runtime could not receive the addresses")]
    Unheard,
}

impl From<verbs::Error> for Error {
    fn from(error: verbs::Error) -> Self {
        Self::Verb(Box::new(error))
    }
}

impl Error {
    /// The code of the CNI error.
    pub fn code(&self) -> u32 {
        self.kind().0
    }

    /// The kind of the error in a few words: `msg` of a CNI error.
    pub fn summary(&self) -> &'static str {
        self.kind().1
    }

    /// The error with its causes: `details` of a CNI error.
    pub fn details(&self) -> String {
        match self {
            Self::Request(error) => error.details(),
            error => error.to_string(),
        }
    }

    fn kind(&self) -> (u32, &'static str) {
        match self {
            Self::Request(error) => (error.code(), error.summary()),
            Self::Verb(error) => (error.code(), error.summary()),
            Self::Kubeconfig(_) => (7, "invalid network configuration"),
            Self::NoRuntime(_) => (11, "try again later"),
            Self::Unheard => (5, "standard output is closed"),
        }
    }
}
