//! The work of an operator on a cluster: asking who leads, compacting, defragmenting, raising and clearing alarms,
//! replacing members. Each member is asked past its proxy, with a bound on every call.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use etcd_client::{
    AlarmAction, AlarmType, Certificate, Client, ConnectOptions, Error, Identity, StatusResponse,
    TlsOptions,
};
use futures::future::try_join_all;
use tokio::time::{sleep, timeout};

use super::cluster::{LOOK, ProxiedCluster};
use super::member::SNAPSHOT_EVERY;
use super::setup::Security;

/// Longest time that a member may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Longest time that anything of the cluster's may take to become as it should.
const BOUND: Duration = Duration::from_mins(1);

/// How many entries are written at once, and how long each lease lives.
const AT_ONCE: usize = 50;
const ENTRY_S: i64 = 60;

/// The operator of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Control<'c>(&'c ProxiedCluster);

impl<'c> Control<'c> {
    /// The operator of `cluster`.
    pub fn of(cluster: &'c ProxiedCluster) -> Self {
        Self(cluster)
    }

    /// A client of one member.
    pub async fn client(self, member: usize) -> Result<Client, Error> {
        let cluster = self.0;
        let url = cluster.direct_urls().swap_remove(member);
        let mut options = ConnectOptions::new()
            .with_connect_timeout(ANSWER)
            .with_require_leader(true);
        if cluster.security() == Security::MutualTls {
            let certificates = &cluster.certificates;
            let own = &certificates.client;
            let tls = TlsOptions::new()
                .ca_certificate(Certificate::from_pem(&certificates.authority))
                .identity(Identity::from_pem(&own.certificate, &own.key));
            options = options.with_tls(tls);
        }
        Client::connect([url], Some(options)).await
    }

    /// Asks one member something.
    pub async fn ask<T, F: Future<Output = Result<T, Error>>>(
        self,
        member: usize,
        question: impl FnOnce(Client) -> F,
    ) -> Result<T, String> {
        let answer = async { question(self.client(member).await?).await };
        match timeout(ANSWER, answer).await {
            Ok(answer) => answer.map_err(|error| format!("member {member}: {error}")),
            Err(_) => Err(format!("member {member} does not answer")),
        }
    }

    /// Asks the members in turn until one has done it.
    pub async fn ask_any<T, F: Future<Output = Result<T, Error>>>(
        self,
        question: impl Fn(Client) -> F,
    ) -> Result<T, String> {
        let mut reason = String::new();
        for member in 0..self.0.size() {
            match self.ask(member, &question).await {
                Ok(answer) => return Ok(answer),
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }

    async fn status(self, member: usize) -> Result<StatusResponse, String> {
        let status = async |mut client: Client| client.status().await;
        self.ask(member, status).await
    }

    /// The member that leads, by its own account.
    pub async fn leader(self) -> Result<usize, String> {
        let find = async || {
            for member in 0..self.0.size() {
                let Ok(status) = self.status(member).await else {
                    continue;
                };
                let own = status.header().map(etcd_client::ResponseHeader::member_id);
                if own == Some(status.leader()) {
                    return Some(member);
                }
            }
            None
        };
        self.become_so("a member leads", find).await
    }

    /// Waits until every member is up and follows the same leader, and has applied all it knows of.
    pub async fn all_well(self) -> Result<(), String> {
        let look = async || {
            self.0.restart_ended();
            let mut leaders = Vec::new();
            for member in 0..self.0.size() {
                let status = self.status(member).await.ok()?;
                let is_behind = status.raft_applied_index() + 100 < status.raft_index();
                leaders.push((!is_behind).then_some(status.leader())?);
            }
            let first = *leaders.first()?;
            (first != 0 && leaders.iter().all(|leader| *leader == first)).then_some(())
        };
        self.become_so("all members are well", look).await
    }

    /// Compacts the history before `revision`, as operators' jobs do.
    pub async fn compact(self, revision: i64) -> Result<(), String> {
        let compact = async |mut client: Client| client.compact(revision, None).await;
        self.ask_any(compact).await.map(drop)
    }

    /// Defragments a member, which serves nobody meanwhile.
    pub async fn defragment(self, member: usize) -> Result<(), String> {
        let defragment = async |mut client: Client| client.defragment().await;
        self.ask(member, defragment).await.map(drop)
    }

    /// Raises the alarm that members raise when they are out of space: no write is taken any more.
    pub async fn raise_alarm(self) -> Result<(), String> {
        self.alarm(AlarmAction::Activate).await
    }

    /// Clears it.
    pub async fn clear_alarm(self) -> Result<(), String> {
        self.alarm(AlarmAction::Deactivate).await
    }

    async fn alarm(self, action: AlarmAction) -> Result<(), String> {
        let alarm = async |mut client: Client| client.alarm(action, AlarmType::Nospace, None).await;
        self.ask_any(alarm).await.map(drop)
    }

    /// Makes another member lead.
    pub async fn move_leader(self, from: usize, to: usize) -> Result<(), String> {
        let id = self.id(to).await?;
        let move_it = async |mut client: Client| client.move_leader(id).await;
        self.ask(from, move_it).await.map(drop)
    }

    /// Removes a member from the cluster and puts another in its place.
    pub async fn replace(self, member: usize) -> Result<(), String> {
        let id = self.id(member).await?;
        let others = (0..self.0.size()).find(|other| *other != member);
        let other = others.ok_or("the only member cannot be replaced")?;
        // Neither before the members that stay have seen each other for a while.
        let remove = async || {
            let remove = async |mut client: Client| client.member_remove(id).await;
            // That it is gone already is the answer to a repeated request.
            let _ = self.ask(other, remove).await;
            let list = async |mut client: Client| client.member_list().await;
            let members = self.ask(other, list).await.ok()?;
            let is_gone = members.members().iter().all(|member| member.id() != id);
            is_gone.then_some(())
        };
        self.become_so("a member is removed", remove).await?;
        let url = self.0.members[member].peer_url(self.0.security());
        let add = async || {
            let add = async |mut client: Client| client.member_add([url.clone()], None).await;
            self.ask(other, add).await.ok()
        };
        self.become_so("a member is added", add).await?;
        self.0.start_anew(member);
        Ok(())
    }

    /// Puts another version of etcd in a member's place, on its data. Gives the versions before and after.
    pub async fn upgrade(self, member: usize, program: &Path) -> Result<[String; 2], String> {
        let before = self.version(member).await?;
        self.0.upgrade(member, program);
        let words = |reason| format!("{reason}; {}", self.0.members[member].last_words());
        self.all_well().await.map_err(words)?;
        let after = self.version(member).await?;
        if before == after {
            return Err(format!("{} is of version {before}, too", program.display()));
        }
        Ok([before, after])
    }

    /// Makes every member write a snapshot. etcd 3.7 reads the log from the last snapshot on, and panics at what a member of
    /// 3.5 has written there.
    pub async fn make_snapshots(self) -> Result<(), String> {
        for _ in 0..=SNAPSHOT_EVERY / AT_ONCE {
            self.ask_any(async |client: Client| {
                // A lease without a key is an entry of the log, and no revision.
                let grant = |_| {
                    let mut client = client.clone();
                    async move { client.lease_grant(ENTRY_S, None).await }
                };
                try_join_all((0..AT_ONCE).map(grant)).await.map(drop)
            })
            .await?;
        }
        self.all_well().await
    }

    async fn version(self, member: usize) -> Result<String, String> {
        let ask = async || Some(self.status(member).await.ok()?.version().to_owned());
        self.become_so("a member tells its version", ask).await
    }

    async fn id(self, member: usize) -> Result<u64, String> {
        let status = self.status(member).await?;
        let header = status.header().ok_or("an answer without a header")?;
        Ok(header.member_id())
    }

    async fn become_so<T>(
        self,
        what: &str,
        look: impl AsyncFn() -> Option<T>,
    ) -> Result<T, String> {
        let poll = async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                sleep(LOOK).await;
            }
        };
        let found = timeout(BOUND, poll).await;
        found.map_err(|_| format!("not within {BOUND:?}: {what}"))
    }
}
