//! The measured functions.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::aws::tls::Tls;
use crate::function::Start;

/// The memory that the function is deployed with, in MB (serverless.yml).
pub(crate) const MEMORY: u32 = 256;
/// The length of the session token of a function's role.
const TOKEN_LENGTH: usize = 1_000;
/// Where Debian and Amazon Linux keep the certificates that they trust.
const SYSTEM_CERTIFICATES: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// A measured function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subject {
    /// Its name in tables.
    pub(crate) name: &'static str,
    /// What it is, for the document.
    pub(crate) what: &'static str,
    program: Program,
    /// Whether its traces are sampled.
    pub(crate) is_sampled: bool,
    /// Whether it writes audit entries.
    pub(crate) writes_entries: bool,
    /// The largest batch with which it is measured.
    pub(crate) largest_batch: usize,
    /// It takes part in every nth round.
    pub(crate) every: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    /// The binary of this name, in Rust.
    Binary(&'static str),
    /// The same, doing the work that every audit must do.
    Working(&'static str),
    Node,
    /// The handler of this name.
    Python(&'static str),
}

const fn subject(name: &'static str, program: Program, what: &'static str) -> Subject {
    Subject { name, what, program, is_sampled: false, writes_entries: true, largest_batch: 1_000, every: 1 }
}

/// All subjects, in the order of the table.
pub(crate) const SUBJECTS: [Subject; 9] = [
    Subject {
        largest_batch: 10_000,
        ..subject("ours", Program::Binary("ours"), "the packaged binary, as it is deployed; the trace is not sampled")
    },
    Subject {
        is_sampled: true,
        largest_batch: 10_000,
        ..subject("sampled", Program::Binary("ours"), "the same; every trace is sampled")
    },
    subject("silent", Program::Binary("silent"), "the same without telemetry (`examples/silent.rs`), built alike"),
    Subject {
        largest_batch: 10_000,
        ..subject(
            "bare",
            Program::Binary("bare"),
            "Rust: `lambda_runtime` and the AWS SDK with their defaults, 25 entries a request one after the other, no telemetry",
        )
    },
    subject(
        "node",
        Program::Node,
        "TypeScript's Powertools (logger, metrics, tracer) and the AWS SDK v3 in one esbuild bundle; all requests at once",
    ),
    subject("python", Program::Python("batch_writer"), "Python's Powertools and boto3's `batch_writer`"),
    Subject {
        largest_batch: 100,
        every: 5,
        ..subject(
            "item",
            Program::Python("batch_processor"),
            "the same with Powertools' `BatchProcessor` and one `PutItem` an entry, as its documentation shows",
        )
    },
    Subject {
        writes_entries: false,
        ..subject(
            "floor",
            Program::Binary("floor"),
            "Rust: reads the event once and sends prebuilt bodies at once over plain connections; no JSON, no signature, no SDK",
        )
    },
    subject(
        "work",
        Program::Working("floor"),
        "the floor with the work that no audit can leave out: it parses the event into borrowed text, hashes the IDs, and writes each entry once",
    ),
];

impl Subject {
    /// Whether its start is timed. The floor has neither signatures nor TLS, and some programs are listed twice.
    pub(crate) fn is_timed_from_start(&self) -> bool {
        matches!(self.program, Program::Binary("ours" | "bare") | Program::Node | Program::Python("batch_writer"))
            && !self.is_sampled
    }

    /// Whether somebody would deploy it.
    pub(crate) fn is_billed(&self) -> bool {
        self.is_timed_from_start() || self.program == Program::Python("batch_processor")
    }

    /// Whether its allocations say something about its code: other languages manage their own heaps.
    pub(crate) fn has_counted_allocations(&self) -> bool {
        matches!(self.program, Program::Binary(_) | Program::Working(_))
    }

    /// Whether it is traced and has metrics.
    pub(crate) fn has_telemetry(&self) -> bool {
        !matches!(self.program, Program::Binary("silent" | "bare" | "floor") | Program::Working(_))
    }
}

/// A subject's DynamoDB endpoint.
#[derive(Debug, Clone)]
pub(crate) enum Endpoint {
    /// Over plain HTTP.
    Plain(String),
    /// Over TLS: each subject trusts what it trusts when deployed, plus our authority.
    Secure(String),
}

/// Everything that was built for the run.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    directory: PathBuf,
    xray: String,
}

impl Built {
    /// The builds in this directory; `amazon_roots` are the certificates that ours trusts when deployed.
    ///
    /// # Errors
    /// When the files with certificates cannot be written.
    pub(crate) fn new(directory: &Path, amazon_roots: &Path, tls: &Tls, xray: String) -> io::Result<Self> {
        let built = Self { directory: fs::canonicalize(directory)?, xray };
        let system = SYSTEM_CERTIFICATES.into_iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let amazon = fs::read_to_string(amazon_roots)?;
        let python = fs::read_to_string(built.directory.join("python/botocore/cacert.pem")).unwrap_or_default();
        fs::create_dir_all(built.directory.join("tls"))?;
        for (name, trusted) in [("ours", amazon), ("bare", system), ("node", String::new()), ("python", python)] {
            fs::write(built.certificates(name), format!("{trusted}\n{}", tls.authority))?;
        }
        Ok(built)
    }

    fn certificates(&self, name: &str) -> PathBuf {
        self.directory.join("tls").join(name).with_extension("pem")
    }

    /// How to start a subject so that its allocations are counted, and the file that receives the count.
    pub(crate) fn start_counted(&self, subject: &Subject, endpoint: &Endpoint) -> (Start, PathBuf) {
        let count = self.directory.join("allocations");
        let library = self.directory.join("allocations.so");
        let mut start = self.start(subject, endpoint);
        let variables = [("LD_PRELOAD", &library), ("BENCH_ALLOCATIONS", &count)];
        let variables = variables.map(|(name, path)| (name.to_owned(), path.to_string_lossy().into_owned()));
        start.environment.extend(variables);
        (start, count)
    }

    /// How to start a subject under callgrind, and the file that has the instruction count once the subject has ended.
    pub(crate) fn start_under_callgrind(&self, subject: &Subject, endpoint: &Endpoint) -> (Start, PathBuf) {
        let file = self.directory.join(format!("callgrind-{}.out", subject.name));
        let mut start = self.start(subject, endpoint);
        let valgrind = ["valgrind", "--quiet", "--tool=callgrind", &format!("--callgrind-out-file={}", file.display())];
        start.command.splice(0..0, valgrind.map(str::to_owned));
        (start, file)
    }

    /// The size of a subject's deployment package in bytes, if it has one.
    pub(crate) fn zip(&self, subject: &Subject) -> Option<u64> {
        let name = match subject.program {
            Program::Binary(name) | Program::Working(name) => name,
            Program::Node => "node",
            Program::Python(_) => "python",
        };
        fs::metadata(self.directory.join(name).with_extension("zip")).ok().map(|file| file.len())
    }

    /// How to start a subject.
    pub(crate) fn start(&self, subject: &Subject, endpoint: &Endpoint) -> Start {
        let path = |name: &str| self.directory.join(name).to_string_lossy().into_owned();
        let (command, trust) = match subject.program {
            Program::Binary(name) => {
                let roots = if matches!(name, "ours" | "silent") { "ours" } else { "bare" };
                (vec![path(&format!("{name}/bootstrap"))], ("SSL_CERT_FILE", roots))
            }
            Program::Working(name) => (vec![path(&format!("{name}/bootstrap"))], ("SSL_CERT_FILE", "bare")),
            Program::Node => (vec![path("node/node"), path("node/runtime.js")], ("NODE_EXTRA_CA_CERTS", "node")),
            Program::Python(handler) => {
                let arguments = ["-m", "awslambdaric", &format!("{handler}.handler")].map(str::to_owned);
                ([vec![path("python/python")], arguments.to_vec()].concat(), ("AWS_CA_BUNDLE", "python"))
            }
        };
        let token = "FwoGZXIvYXdzE".repeat(TOKEN_LENGTH / 13);
        let mut environment: Vec<(String, String)> = [
            ("AUDIT_TABLE", "Audit"),
            ("FAILURE_BUCKET", "failures"),
            ("SERVICE_NAME", "config-audit"),
            ("STAGE", "bench"),
            ("POWERTOOLS_SERVICE_NAME", "config-audit"),
            ("POWERTOOLS_METRICS_NAMESPACE", "ConfigAudit"),
            ("AWS_ACCESS_KEY_ID", "ASIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            ("AWS_SESSION_TOKEN", &token),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_DEFAULT_REGION", "eu-central-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("AWS_EXECUTION_ENV", "AWS_Lambda_bench"),
            ("AWS_LAMBDA_FUNCTION_NAME", "config-audit-bench"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &MEMORY.to_string()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
            ("AWS_LAMBDA_LOG_LEVEL", "INFO"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/config-audit-bench"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/27/[$LATEST]0123456789abcdef0123456789abcdef"),
            ("AWS_XRAY_DAEMON_ADDRESS", &self.xray),
            ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
            ("LAMBDA_TASK_ROOT", &path(if command.len() == 2 { "node" } else { "python" })),
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("LANG", "en_US.UTF-8"),
            ("TZ", ":UTC"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        if let Program::Working(_) = subject.program {
            environment.push(("FLOOR_WORK".to_owned(), "on".to_owned()));
        }
        let (Endpoint::Plain(url) | Endpoint::Secure(url)) = endpoint;
        environment.push(("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), url.clone()));
        if let Endpoint::Secure(_) = endpoint {
            let (variable, name) = trust;
            environment.push((variable.to_owned(), self.certificates(name).to_string_lossy().into_owned()));
        }
        Start { command, environment }
    }
}
