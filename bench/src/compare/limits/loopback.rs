//! What TCP over loopback costs, and how long it takes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hdrhistogram::Histogram;

use super::cpu::{on_cpu, pin, thread_cpu};
use super::disk::CHUNK;
use super::{gb_s, quantiles};

const LOOPBACK_TIME: Duration = Duration::from_secs(2);
const ANSWER: usize = 32 << 10;
const ANSWERS: usize = 20_000;
const ASKERS: usize = 8;
const WAKES: usize = 2000;

/// Reads to the end; the number of bytes.
pub(super) fn swallow(stream: &mut TcpStream) -> Result<usize> {
    let (mut buffer, mut total) = (vec![0; CHUNK], 0);
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(total),
            n => total += n,
        }
    }
}

/// Gives one client each KiB back, until it has enough.
fn echo(listener: &TcpListener) -> Result<()> {
    let (mut client, _) = listener.accept()?;
    client.set_nodelay(true)?;
    let mut message = [0; 1024];
    while client.read_exact(&mut message).is_ok() {
        client.write_all(&message)?;
    }
    Ok(())
}

pub(super) fn loopback(server_cpu: usize, load_cpu: usize) -> Result<(f64, (f64, f64))> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    // Echoes the first connection, swallows the second.
    let server = std::thread::spawn(move || -> Result<usize> {
        pin(server_cpu)?;
        echo(&listener)?;
        let (mut sink, _) = listener.accept()?;
        swallow(&mut sink)
    });
    let load = std::thread::spawn(move || -> Result<(Duration, (f64, f64))> {
        pin(load_cpu)?;
        let mut echo = TcpStream::connect(addr)?;
        echo.set_nodelay(true)?;
        let (mut message, mut times) = ([1; 1024], Histogram::<u64>::new(3)?);
        for _ in 0..20_000 {
            let began = Instant::now();
            echo.write_all(&message)?;
            echo.read_exact(&mut message)?;
            times.record(began.elapsed().as_nanos() as u64)?;
        }
        drop(echo);
        let mut sink = TcpStream::connect(addr)?;
        let (chunk, began) = (vec![1; CHUNK], Instant::now());
        while began.elapsed() < LOOPBACK_TIME {
            sink.write_all(&chunk)?;
        }
        Ok((began.elapsed(), quantiles(&times)))
    });
    let (time, round_trip) = load.join().expect("no panic")?;
    let total = server.join().expect("no panic")?;
    Ok((gb_s(total, time), round_trip))
}

pub(super) fn woken(server_cpu: usize, load_cpu: usize) -> Result<(f64, f64)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let server = std::thread::spawn(move || -> Result<()> {
        pin(server_cpu)?;
        echo(&listener)
    });
    let times = on_cpu(load_cpu, || {
        let mut echo = TcpStream::connect(addr)?;
        echo.set_nodelay(true)?;
        echo.set_nonblocking(true)?;
        let (mut message, mut times) = ([1; 1024], Histogram::<u64>::new(3)?);
        let mut due = Instant::now();
        for _ in 0..WAKES {
            due += Duration::from_millis(1);
            while Instant::now() < due {}
            let began = Instant::now();
            echo.write_all(&message)?;
            let mut got = 0;
            while got < message.len() {
                match echo.read(&mut message[got..]) {
                    Ok(0) => bail!("the echo ended"),
                    Ok(n) => got += n,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
            times.record(began.elapsed().as_nanos() as u64)?;
        }
        Ok(times)
    })?;
    server.join().expect("no panic")?;
    Ok(quantiles(&times))
}

/// As many answers are under way as there are connections.
pub(super) fn answers(server_cpu: usize, load_cpu: usize) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let server = std::thread::spawn(move || -> Result<Duration> {
        pin(server_cpu)?;
        let mut askers = (0..ASKERS).map(|_| Ok(listener.accept()?.0)).collect::<Result<Vec<_>>>()?;
        let (answer, mut request) = (vec![1; ANSWER], [0; 256]);
        let began = thread_cpu()?;
        for i in 0..ANSWERS {
            let asker = &mut askers[i % ASKERS];
            asker.read_exact(&mut request)?;
            asker.write_all(&answer)?;
        }
        Ok(thread_cpu()? - began)
    });
    on_cpu(load_cpu, || {
        let mut sockets =
            (0..ASKERS).map(|_| Ok(TcpStream::connect(addr)?)).collect::<Result<Vec<TcpStream>>>()?;
        let (request, mut answer) = ([1; 256], vec![0; ANSWER]);
        sockets.iter_mut().try_for_each(|socket| socket.write_all(&request))?;
        for i in 0..ANSWERS {
            let socket = &mut sockets[i % ASKERS];
            socket.read_exact(&mut answer)?;
            if i + ASKERS < ANSWERS {
                socket.write_all(&request)?;
            }
        }
        Ok(())
    })?;
    let cpu = server.join().expect("no panic")?;
    Ok(cpu.as_secs_f64() * 1e6 / (ANSWERS * ANSWER / 1024) as f64)
}
