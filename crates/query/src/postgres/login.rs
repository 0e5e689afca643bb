//! How a client of Postgres comes in: TLS, the first message, SCRAM. What it asks afterwards is left to
//! `connection`.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use footfall_guard::scram::{Exchange, MECHANISM, ScramError, Verifier};
use footfall_guard::{Socket, Tls, Tokens};
use pgwire::error::ErrorInfo;
use pgwire::messages::startup::{
    Authentication, NegotiateProtocolVersion, PasswordMessageFamily, Startup,
};
use pgwire::messages::{
    DecodeContext, Message, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::error::{FATAL, fatal, protocol_violation};
use super::wire::{NoMessage, Wire, decoded};

/// The longest first message.
const STARTUP_BYTES_MAX: usize = 10_000;
/// A length and a code.
const HEAD_BYTES: usize = 8;
const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;
/// With which a client begins that speaks TLS without asking.
const TLS_HANDSHAKE: u8 = 0x16;
/// Requests for a secrecy that a client may make one after the other.
const REQUESTS_MAX: usize = 2;
/// Characters of a nonce.
const NONCE_CHARS: usize = 24;

/// What a client wants that came in.
pub(super) enum Opened {
    Session { wire: Wire, parameters: BTreeMap<String, String> },
    Cancel { process: i32, secret: i32 },
}

/// Reads a client's first messages, with TLS where there is some.
///
/// # Errors
/// A client that goes away, or speaks another language. One that could be told why has been told.
pub(super) async fn open(
    stream: TcpStream,
    tls: &Tls,
    handshake_max: Duration,
    write_time_max: Duration,
) -> io::Result<Opened> {
    stream.set_nodelay(true)?;
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] == TLS_HANDSHAKE && tls.is_on() {
        let mut socket = tls.accept(stream, handshake_max).await?;
        let head = head(&mut socket).await?;
        return begin(socket, head, true, write_time_max).await;
    }
    let mut stream = stream;
    for _ in 0..=REQUESTS_MAX {
        let head = head(&mut stream).await?;
        match (head.code, tls.is_on()) {
            (SSL_REQUEST, true) => {
                // Not one byte is read beyond the request: what follows in the clear is no TLS.
                stream.write_all(b"S").await?;
                let mut socket = tls.accept(stream, handshake_max).await?;
                let head = self::head(&mut socket).await?;
                return begin(socket, head, true, write_time_max).await;
            }
            (SSL_REQUEST | GSS_REQUEST, _) => stream.write_all(b"N").await?,
            (_, has_tls) => {
                return begin(Socket::Plain(stream), head, !has_tls, write_time_max).await;
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "it asks for secrecy again and again"))
}

#[derive(Clone, Copy)]
struct Head {
    length: usize,
    code: i32,
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Head> {
    let mut bytes = [0; HEAD_BYTES];
    stream.read_exact(&mut bytes).await?;
    let mut bytes = bytes.as_slice();
    let (length, code) = (bytes.get_i32(), bytes.get_i32());
    match usize::try_from(length) {
        Ok(length) if (HEAD_BYTES..=STARTUP_BYTES_MAX).contains(&length) => {
            Ok(Head { length, code })
        }
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "its first message is none of Postgres'",
        )),
    }
}

/// Takes the message that `head` begins. `is_secret` says whether it came as it should.
async fn begin(
    mut socket: Socket,
    head: Head,
    is_secret: bool,
    write_time_max: Duration,
) -> io::Result<Opened> {
    let mut rest = vec![0; head.length - HEAD_BYTES];
    socket.read_exact(&mut rest).await?;
    if head.code == CANCEL_REQUEST {
        let mut rest = rest.as_slice();
        return match rest.len() {
            8 => Ok(Opened::Cancel { process: rest.get_i32(), secret: rest.get_i32() }),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it cancels with no key")),
        };
    }
    let mut wire = Wire::new(socket, write_time_max);
    let refusal = match (is_secret, startup(head, &rest)) {
        (false, _) => {
            let mut refusal = fatal("28000", "this server is asked over TLS alone");
            refusal.hint = Some("connect with sslmode=require, or better".to_owned());
            refusal
        }
        (true, Ok((startup, unknown))) => {
            if startup.protocol_number_minor > 0 || !unknown.is_empty() {
                let newest = i32::from(ProtocolVersion::PROTOCOL3_0);
                let answer = NegotiateProtocolVersion::new(newest, unknown);
                wire.put(&PgWireBackendMessage::NegotiateProtocolVersion(answer))?;
            }
            return Ok(Opened::Session { wire, parameters: startup.parameters });
        }
        (true, Err(refusal)) => refusal,
    };
    wire.put(&PgWireBackendMessage::ErrorResponse(refusal.into()))?;
    wire.close().await;
    Err(io::Error::new(io::ErrorKind::InvalidData, "it does not come in as it should"))
}

/// The first message, and the options of the protocol in it that are not known.
fn startup(head: Head, rest: &[u8]) -> Result<(Startup, Vec<String>), ErrorInfo> {
    let major = head.code >> 16;
    if major != 3 {
        let message = format!(
            "unsupported frontend protocol {major}.{}: 3.0 is spoken here",
            head.code & 0xffff
        );
        return Err(protocol_violation(FATAL, &message));
    }
    let broken = || protocol_violation(FATAL, "the first message is cut off");
    // Names and values, each ended by a zero, and a zero behind them.
    if rest.last() != Some(&0) || rest.iter().filter(|byte| **byte == 0).count() % 2 == 0 {
        return Err(broken());
    }
    let mut frame = BytesMut::with_capacity(head.length);
    frame.extend_from_slice(&(head.length as i32).to_be_bytes());
    // The decoder knows the versions that were made; any other is negotiated down to 3.0 all the same.
    frame.extend_from_slice(&i32::from(ProtocolVersion::PROTOCOL3_0).to_be_bytes());
    frame.extend_from_slice(rest);
    let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
    context.awaiting_frontend_ssl = false;
    let decoded = Startup::decode(&mut frame, &context).ok().flatten();
    let mut startup = decoded.ok_or_else(broken)?;
    startup.protocol_number_minor = (head.code & 0xffff) as u16;
    let unknown = startup.parameters.keys().filter(|name| name.starts_with("_pq_."));
    let unknown = unknown.cloned().collect();
    Ok((startup, unknown))
}

/// Lets `user` in, or says why not. Without tokens everybody is, as is right on the loopback alone.
///
/// # Errors
/// A client that goes away; one that is not let in, with what it is to be told.
pub(super) async fn authenticate(
    wire: &mut Wire,
    user: &str,
    tokens: &Tokens,
    nobody: &[u8; 32],
) -> Result<(), NoMessage> {
    if !tokens.is_empty() {
        // Of a token that was made before there were log-ins the hash of HTTP is known alone; it is refused
        // like one that is not known.
        let verifier = tokens.verifier(user).cloned();
        let verifier = verifier.unwrap_or_else(|| Verifier::of_nobody(user, nobody));
        scram(wire, user, verifier).await?;
    }
    wire.put(&PgWireBackendMessage::Authentication(Authentication::Ok))?;
    Ok(())
}

async fn scram(wire: &mut Wire, user: &str, verifier: Verifier) -> Result<(), NoMessage> {
    let ask = |wire: &mut Wire, message| wire.put(&PgWireBackendMessage::Authentication(message));
    ask(wire, Authentication::SASL(vec![MECHANISM.to_owned()]))?;
    wire.send().await?;
    let chosen = password(wire).await?;
    let chosen = decoded(b'p', || chosen.into_sasl_initial_response())?;
    if chosen.auth_method != MECHANISM {
        return Err(no_scram());
    }
    let first = chosen.data.unwrap_or_default();
    let nonce: String = (0..NONCE_CHARS).map(|_| rand::random_range('a'..='z')).collect();
    let refused = |error| refused(user, &error);
    let (exchange, answer) = Exchange::begin(&first, verifier, &nonce).map_err(refused)?;
    ask(wire, Authentication::SASLContinue(Bytes::from(answer)))?;
    wire.send().await?;
    let last = password(wire).await?;
    let last = decoded(b'p', || last.into_sasl_response())?;
    let answer = exchange.finish(&last.data).map_err(refused)?;
    ask(wire, Authentication::SASLFinal(Bytes::from(answer)))?;
    Ok(())
}

async fn password(wire: &mut Wire) -> Result<PasswordMessageFamily, NoMessage> {
    match wire.message().await? {
        PgWireFrontendMessage::PasswordMessageFamily(message) => Ok(message),
        PgWireFrontendMessage::Terminate(_) => {
            Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
        }
        _ => Err(no_scram()),
    }
}

fn no_scram() -> NoMessage {
    let message = format!("a client logs in by {MECHANISM} here");
    NoMessage::Broken(Box::new(protocol_violation(FATAL, &message)))
}

fn refused(user: &str, error: &ScramError) -> NoMessage {
    let told = match error {
        ScramError::Wrong => {
            let message = format!("password authentication failed for user \"{user}\"");
            let mut told = fatal("28P01", &message);
            told.hint = Some(
                "the user is the name of a [[token]] with a `scram`, the password is the token: \
                 `footfall token new` makes one"
                    .to_owned(),
            );
            told
        }
        ScramError::Malformed(_) => protocol_violation(FATAL, &error.to_string()),
    };
    NoMessage::Broken(Box::new(told))
}
