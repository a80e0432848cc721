//! The way to the store through the API server: kubectl asks its proxy for the Service of the page, and the page reads the
//! store. A reader needs no credential of etcd, and logs in as kubectl does.

mod kubectl;
mod store;

use clap::Args;

pub(crate) use self::kubectl::is_plugin;
use self::kubectl::{Kubectl, Service};
pub(super) use self::store::PageStore;
use super::DatastoreOptions;

/// Under what the options stand in a help text.
const HEADING: &str =
    "How to read through kubectl and the page (the default of `kubectl whereabouts`)";

/// How to reach the datastore to read it: directly, or through the page.
#[derive(Args, Clone)]
pub(crate) struct ReadOptions {
    #[command(flatten)]
    direct: DatastoreOptions,
    #[command(flatten)]
    page: PageOptions,
}

/// How to reach the page. Any of them means to read through it.
#[derive(Args, Clone)]
struct PageOptions {
    /// The namespace of the page's Service [default: kube-system].
    #[arg(long, help_heading = HEADING, value_name = "NAME", value_parser = kubectl::label)]
    service_namespace: Option<String>,
    /// The page's Service [default: http:whereabouts-page:http].
    #[arg(long, help_heading = HEADING, value_name = "[http:|https:]NAME[:PORT]")]
    service: Option<Service>,
    /// The cluster of the kubeconfig, as of kubectl. So are the next two options, and --context and --kubeconfig beside them.
    #[arg(long, help_heading = HEADING, value_name = "NAME")]
    cluster: Option<String>,
    /// The user of the kubeconfig.
    #[arg(long, help_heading = HEADING, value_name = "NAME")]
    user: Option<String>,
    /// The user to act as.
    #[arg(long = "as", help_heading = HEADING, value_name = "NAME")]
    act_as: Option<String>,
}

/// The chosen way.
pub(super) enum Way<'o> {
    /// To the datastore.
    Direct(&'o DatastoreOptions),
    /// Through the page.
    Page(Kubectl),
}

impl ReadOptions {
    /// The way: as the options say, or else as the tool is called.
    pub(super) fn way(&self) -> Result<Way<'_>, String> {
        let is_kubectls = self.direct.kubeconfig().is_some() && !self.direct.names_kubernetes();
        let through_page = self.page.is_given() || is_kubectls;
        if through_page && self.direct.names_place() {
            return Err(
                "some options name a datastore, and others the page: the tool reads from one of them".to_owned(),
            );
        }
        if through_page || (is_plugin() && !self.direct.names_place()) {
            let context = self.direct.context.as_deref();
            let kubeconfig = self.direct.kubeconfig();
            let kubeconfig = kubeconfig.map(|path| path.display().to_string());
            return Ok(Way::Page(self.page.kubectl(context, kubeconfig.as_deref())));
        }
        Ok(Way::Direct(&self.direct))
    }

    /// The way to the datastore itself, which `what` needs.
    pub(crate) fn direct(&self, what: &str) -> Result<&DatastoreOptions, String> {
        if self.page.is_given() {
            return Err(format!(
                "{what} needs the datastore itself: the page only reads"
            ));
        }
        Ok(&self.direct)
    }
}

impl PageOptions {
    fn is_given(&self) -> bool {
        let Self {
            service_namespace,
            service,
            cluster,
            user,
            act_as,
        } = self;
        let texts = [service_namespace, cluster, user, act_as];
        service.is_some() || texts.iter().any(|text| text.is_some())
    }

    fn kubectl(&self, context: Option<&str>, kubeconfig: Option<&str>) -> Kubectl {
        let flags = [
            ("kubeconfig", kubeconfig),
            ("context", context),
            ("cluster", self.cluster.as_deref()),
            ("user", self.user.as_deref()),
            ("as", self.act_as.as_deref()),
        ];
        let flags = flags
            .into_iter()
            .filter_map(|(name, value)| Some(format!("--{name}={}", value?)));
        let namespace = self.service_namespace.as_deref();
        Kubectl::new(
            flags.collect(),
            namespace.unwrap_or("kube-system"),
            &self.service.clone().unwrap_or_default(),
        )
    }
}
