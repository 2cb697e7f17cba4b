//! The program of the built-in demo image: `demo web DIR PORT` serves DIR/index.html over HTTP/1.1, `demo write DIR`
//! keeps that page current. Standard library only, so that the image is one small static file.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, fs, io, thread};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["web", dir, port] => web(Path::new(dir), port),
        ["write", dir] => write_page(Path::new(dir)),
        _ => Err(io::Error::other("usage: demo web DIR PORT | demo write DIR")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("demo: {e}");
            ExitCode::FAILURE
        }
    }
}

fn web(dir: &Path, port: &str) -> io::Result<()> {
    let listener = TcpListener::bind(format!("0.0.0.0:{port}"))?;
    println!("serving {} on port {port}", dir.display());
    let page = dir.join("index.html");
    for stream in listener.incoming() {
        let (stream, page) = (stream?, page.clone());
        thread::spawn(move || {
            if let Err(e) = answer(stream, &page) {
                eprintln!("request: {e}");
            }
        });
    }
    Ok(())
}

fn answer(stream: TcpStream, page: &Path) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let (status, body) = match fs::read(page) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("503 Service Unavailable", b"the page has not been written yet\n".to_vec()),
    };
    let mut stream = &stream;
    write!(stream, "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}

/// Rewrites the page every ten seconds, each time by renaming, so that a reader never sees half of it.
fn write_page(dir: &Path) -> io::Result<()> {
    let pod = env::var("POD_NAME").unwrap_or_else(|_| "unknown".into());
    let ip = env::var("POD_IP").unwrap_or_else(|_| "unknown".into());
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let page = format!("<html><body><h1>Hello from barepod</h1><p>pod {pod} at {ip}, written at {now}</p></body></html>\n");
        fs::write(dir.join(".index.html"), page)?;
        fs::rename(dir.join(".index.html"), dir.join("index.html"))?;
        println!("wrote the page of {pod}");
        thread::sleep(Duration::from_secs(10));
    }
}
