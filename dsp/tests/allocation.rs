//! The audio path does not allocate: counted by the global allocator of this binary, with a control that it counts. The clean-up
//! before it does, as its library has it, and gives all of it back (docs/decisions/0010).
#![allow(unsafe_code)] // GlobalAlloc is an unsafe trait; this one only counts and hands on to System.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use undertone_dsp::{
    AudioFrame, CaptureResampler, Character, CleanUp, Cleaner, FRAME_DURATION, MorphSeed,
    PlaybackResampler, RawPcm, ReceiveChain, SendChain, StreamId,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes held.
    static HELD: Cell<i64> = const { Cell::new(0) };
}

fn count(allocations: u64, bytes: i64) {
    ALLOCATIONS.with(|n| n.set(n.get() + allocations));
    HELD.with(|n| n.set(n.get() + bytes));
}

// SAFETY: every call is handed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as i64 - layout.size() as i64);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

/// Frame `i` of something between a vowel, hiss and silence.
fn raw(i: usize) -> RawPcm {
    let mut frame = AudioFrame::SILENCE;
    for (n, sample) in frame.0.iter_mut().enumerate() {
        let t = (i * 960 + n) as f32 / 48_000.0;
        let hash = ((i * 960 + n) as u32).wrapping_mul(2_654_435_761) >> 8;
        let hiss = hash as f32 / (1 << 24) as f32 - 0.5;
        *sample = match i / 10 % 3 {
            0 => (1..12)
                .map(|h| 0.05 * (std::f32::consts::TAU * 130.0 * h as f32 * t).sin())
                .sum(),
            1 => 0.1 * hiss,
            _ => 0.0,
        };
    }
    RawPcm(frame)
}

#[test]
fn the_counter_counts() {
    assert!(allocations(|| drop(std::hint::black_box(vec![1_u8; 100]))) > 0);
}

#[test]
fn sending_does_not_allocate() {
    let mut chain = SendChain::new(&MorphSeed::from_bytes([5; 32]), Character::Free).unwrap();
    let frames: Vec<RawPcm> = (0..200).map(raw).collect();
    chain.process(&frames[0]);
    let count = allocations(|| {
        for (i, frame) in frames.iter().enumerate() {
            chain.process(frame);
            if i % 50 == 49 {
                chain.silence();
            }
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn receiving_does_not_allocate_whatever_the_network_does() {
    let mut send = SendChain::new(&MorphSeed::from_bytes([5; 32]), Character::Free).unwrap();
    let packets: Vec<_> = (0..300).map(|i| send.process(&raw(i)).opus).collect();
    let mut chain = ReceiveChain::new();
    for id in 0..4 {
        chain.add_stream(StreamId(id)).unwrap();
    }
    let mut out = AudioFrame::SILENCE;
    let mut frame = |i: usize| {
        let now = FRAME_DURATION * i as u32;
        for id in 0..4_usize {
            // Lost, doubled, reordered, and in bursts.
            match (i + id) % 11 {
                0 => {}
                1 => {
                    (0..2).for_each(|_| chain.push(StreamId(id as u32), i as u64, &packets[i], now))
                }
                2 if i > 0 => chain.push(StreamId(id as u32), i as u64 - 1, &packets[i - 1], now),
                _ => chain.push(StreamId(id as u32), i as u64, &packets[i], now),
            }
        }
        if !(200..215).contains(&i) {
            chain.pull(now, &mut out);
        }
        chain.set_gain(StreamId(1), i as f32 / 300.0);
    };
    frame(0);
    assert_eq!(allocations(|| (1..300).for_each(&mut frame)), 0);
}

#[test]
fn resampling_does_not_allocate() {
    let mut capture = CaptureResampler::new(44_100, 2).unwrap();
    let mut playback = PlaybackResampler::new(44_100, 2).unwrap();
    let input = vec![0.1; 882 * 2];
    let mut frame = AudioFrame::SILENCE;
    let mut out = vec![0.0; 2_000];
    let mut step = |i: usize| {
        capture.push_interleaved(&input);
        while capture.next_frame(&mut frame) {
            playback.push_frame(&frame);
        }
        playback.pull_interleaved(&mut out);
        playback.core().steer(900 + i % 100, 950);
    };
    step(0);
    assert_eq!(allocations(|| (0..200).for_each(&mut step)), 0);
}

#[test]
fn cleaning_up_allocates_a_little_and_holds_no_more_for_it() {
    // Parts of the clean-up, and the most allocations a frame.
    for (wanted, most) in [
        (CleanUp::NONE, 0),
        (
            CleanUp {
                noise: true,
                ..CleanUp::NONE
            },
            0,
        ),
        (CleanUp::default(), 100),
    ] {
        const FRAMES: usize = 200;
        let mut cleaner = Cleaner::new(wanted).unwrap();
        let frames: Vec<AudioFrame> = (0..2 * FRAMES).map(|i| raw(i).0).collect();
        let mut clean = |range: std::ops::Range<usize>| {
            for i in range {
                cleaner.hear(&frames[i], FRAME_DURATION * i as u32);
                cleaner.process(&mut RawPcm(frames[i].clone()));
            }
        };
        clean(0..FRAMES);
        let held = HELD.with(Cell::get);
        let count = allocations(|| clean(FRAMES..2 * FRAMES));
        assert!(count <= most * FRAMES as u64, "{wanted:?}: {count}");
        assert_eq!(HELD.with(Cell::get), held, "{wanted:?}");
    }
}
