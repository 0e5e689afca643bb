//! Footfall over the protocol of Postgres, with the clients that analysts have.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use anyhow::{Context, Result, ensure};
use footfall_tests::{Certificate, Footfall, Running, python, repository, wait_until};
use tempfile::TempDir;

use crate::docs::sampled;

/// A lake with the README's sample, and queries over it.
struct Server {
    running: Running,
    _folder: TempDir,
}

/// All tests that run at one time ask the same server; it ends with the last of them.
static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());

fn server() -> Result<Arc<Server>> {
    let mut shared = SERVER.lock().unwrap();
    if let Some(server) = shared.upgrade() {
        return Ok(server);
    }
    let folder = TempDir::new()?;
    let running = sampled(folder.path())?.start("query")?;
    let server = Arc::new(Server { running, _folder: folder });
    *shared = Arc::downgrade(&server);
    Ok(server)
}

fn url(running: &Running) -> String {
    format!("{}/footfall?sslmode=disable", running.postgres().replace("://", "://analyst@"))
}

/// What a client prints that ends well.
fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("{program} is missing: run ./test"))?;
    let (out, said) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{program}: {}\n{out}{said}", output.status);
    Ok(out.into_owned())
}

/// psql's answer, and what it says of mistakes.
fn psql(url: &str, commands: &[&str]) -> Result<(String, String)> {
    let mut psql = Command::new("psql");
    psql.args(["--no-psqlrc", "--quiet", "--pset=pager=off", url]);
    for command in commands {
        psql.args(["--command", command]);
    }
    let output = psql.output().context("psql is missing: run ./test")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(&output.stdout), text(&output.stderr)))
}

#[test]
fn psql_shows_what_there_is() -> Result<()> {
    let server = server()?;
    let url = url(&server.running);
    for (command, told) in [
        (r"\d", &["| events ", "| abandonment ", "| live_sessions ", "view"][..]),
        (r"\dt", &["| sessions "]),
        (r"\dt+", &["| sessions ", "an accepted event, once"]),
        (r"\dv", &["| needs_by_page "]),
        (r"\d events", &["event_time", "timestamp with time zone", "search_results"]),
        (r"\d+ events", &["event_name", "Description"]),
        (r"\d abandonment", &["session_id", "reason"]),
        (r"\df", &["window_funnel", "funnel"]),
        (r"\df+ funnel", &["funnel"]),
        (r"\du", &["List of roles"]),
        (r"\dn", &["public"]),
        (r"\dn+", &["public"]),
        (r"\l", &["footfall"]),
        (r"\conninfo", &["footfall"]),
        ("SELECT version()", &["Footfall", "PostgreSQL 16"]),
        (
            "SELECT current_database(), current_schema(), current_user",
            &["footfall", "public", "analyst"],
        ),
        ("SHOW server_version", &["16.6"]),
        ("SHOW TABLES", &["events"]),
        ("EXPLAIN SELECT count(*) FROM events", &["logical_plan"]),
        (
            "SELECT * FROM funnel('view_item', event_name = 'purchase', within => '1 hour')",
            &["(2 rows)"],
        ),
    ] {
        let (out, said) = psql(&url, &[command])?;
        ensure!(said.is_empty(), "{command}: {said}{out}");
        for told in told {
            ensure!(out.contains(told), "{command} does not show {told}: {out}");
        }
    }
    Ok(())
}

#[test]
fn psql_is_told_where_a_mistake_is() -> Result<()> {
    let server = server()?;
    let url = url(&server.running);
    for (command, told) in [
        ("SELECT evnt_name FROM events", "did you mean `event_name`?"),
        ("SELECT evnt_name FROM events", "LINE 1: SELECT evnt_name"),
        ("SELECT 1 FROM event", "did you mean `events`?"),
        ("INSERT INTO events VALUES (1)", "only queries run here"),
        ("SET statment_timeout = 1", "did you mean \"statement_timeout\"?"),
    ] {
        let (out, said) = psql(&url, &[command])?;
        ensure!(said.contains(told), "{command} does not tell {told}: {said}{out}");
    }
    Ok(())
}

#[test]
fn psql_copies_rows_to_a_file() -> Result<()> {
    let server = server()?;
    let folder = TempDir::new()?;
    let file = folder.path().join("rows.csv");
    let copy = format!(
        "\\copy (SELECT 1 AS n, 'a,\"b\"' AS t, NULL AS nothing) TO '{}' WITH (FORMAT csv, HEADER)",
        file.display()
    );
    let (out, said) = psql(&url(&server.running), &[&copy])?;
    ensure!(said.is_empty(), "{said}{out}");
    let written = std::fs::read_to_string(&file)?;
    ensure!(written == "n,t,nothing\n1,\"a,\"\"b\"\"\",\n", "{written}");
    Ok(())
}

#[test]
fn psycopg_reads_and_binds() -> Result<()> {
    let server = server()?;
    let program = repository().join("tests/clients/psycopg_client.py");
    python(&[&program.to_string_lossy(), &url(&server.running)])?;
    // A gigabyte of rows passed through it.
    let (_, peak_mb) = server.running.resident_mb()?;
    ensure!(peak_mb < 600, "the server had {peak_mb} MB");
    Ok(())
}

#[test]
fn sqlalchemy_inspects() -> Result<()> {
    let server = server()?;
    let program = repository().join("tests/clients/sqlalchemy_client.py");
    let url = url(&server.running).replace("postgresql://", "postgresql+psycopg://");
    python(&[&program.to_string_lossy(), &url])?;
    Ok(())
}

/// Passwords are tokens, over TLS that is trusted; in the clear nobody is let in.
#[test]
fn a_password_is_a_token_over_tls() -> Result<()> {
    let folder = TempDir::new()?;
    let certificate = Certificate::make()?;
    let footfall = Footfall::at(&folder.path().join("data"));
    let made = footfall.run(&["token", "new", "--name", "analyst"])?;
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    let token = said.split_whitespace().find(|word| word.starts_with("fr_")).context("no token")?;
    let (cert, key) = (certificate.certificate.display(), certificate.key.display());
    let mut text = String::new();
    for section in ["ingest", "query", "pipeline"] {
        text += &format!("[{section}]\ntls_certificate = \"{cert}\"\ntls_key = \"{key}\"\n");
    }
    text += &String::from_utf8_lossy(&made.stdout);
    let file = folder.path().join("footfall.toml");
    std::fs::write(&file, text)?;
    let running = footfall.config(&file).start_unready("up", "127.0.0.1:0")?;
    let ask = |user: &str, password: &str, mode: &str| -> Result<(String, String)> {
        let url = running.postgres().replace("127.0.0.1", "localhost");
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-password"]);
        psql.args([
            &format!("{url}/footfall?user={user}&sslmode={mode}"),
            "--command",
            "SELECT 41 + 1",
        ]);
        psql.env("PGPASSWORD", password).env("PGSSLROOTCERT", &certificate.certificate);
        let output = psql.output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(&output.stdout), text(&output.stderr)))
    };
    let began = std::time::Duration::from_secs(30);
    wait_until("psql is let in", began, || {
        Ok(ask("analyst", token, "verify-full")?.0.contains("42"))
    })?;
    for (user, password, mode, told) in [
        ("analyst", "wrong", "verify-full", "password authentication failed"),
        ("nobody", token, "verify-full", "password authentication failed"),
        ("analyst", token, "disable", "over TLS alone"),
    ] {
        let (out, said) = ask(user, password, mode)?;
        ensure!(out.is_empty() && said.contains(told), "{user} {mode}: {out}{said}");
    }
    running.stop()
}

#[test]
fn node_reads_and_binds() -> Result<()> {
    let server = server()?;
    let modules = installed("node_modules")?;
    let program = repository().join("tests/clients/pg_client.js");
    let mut node = Command::new("node");
    node.arg(program).arg(url(&server.running)).env("NODE_PATH", modules);
    run(&mut node)?;
    Ok(())
}

#[test]
fn jdbc_reads_metadata_and_pieces() -> Result<()> {
    let server = server()?;
    let mut java = Command::new("java");
    java.arg("-cp").arg(installed("lib/postgresql.jar")?);
    java.arg(repository().join("tests/clients/JdbcClient.java"));
    java.arg(format!("jdbc:{}&user=analyst", url(&server.running).replace("analyst@", "")));
    run(&mut java)?;
    Ok(())
}

#[test]
fn pgx_reads_and_binds() -> Result<()> {
    let server = server()?;
    let mut pgx = Command::new(installed("lib/pgx")?);
    run(pgx.arg(url(&server.running)))?;
    Ok(())
}

/// `debug` connects, `compile` asks the catalog; views are not made here.
#[test]
fn dbt_connects_and_compiles() -> Result<()> {
    let server = server()?;
    let folder = TempDir::new()?;
    let port = server.running.postgres().rsplit(':').next().unwrap_or_default().to_owned();
    let profile = format!(
        "footfall:\n  target: test\n  outputs:\n    test:\n      type: postgres\n      host: 127.0.0.1\n      \
         port: {port}\n      user: analyst\n      password: none\n      dbname: footfall\n      \
         schema: public\n      threads: 1\n"
    );
    std::fs::write(folder.path().join("profiles.yml"), profile)?;
    for command in ["debug", "compile"] {
        let mut dbt = Command::new(repository().join("tests/.venv/bin/dbt"));
        dbt.current_dir(repository().join("tests/clients/dbt"))
            .args([command, "--no-send-anonymous-usage-stats"]);
        dbt.arg("--profiles-dir").arg(folder.path());
        dbt.env("DBT_TARGET_PATH", folder.path().join("target"));
        dbt.env("DBT_LOG_PATH", folder.path().join("logs"));
        run(&mut dbt)?;
    }
    Ok(())
}

fn installed(name: &str) -> Result<std::path::PathBuf> {
    let path = repository().join("tests/clients").join(name);
    ensure!(Path::exists(&path), "{} is missing: run ./test, which makes it", path.display());
    Ok(path)
}
