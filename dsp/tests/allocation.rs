//! The audio path does not allocate: counted by the global allocator of this binary, with a control that it counts.
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
}

fn count() {
    ALLOCATIONS.with(|n| n.set(n.get() + 1));
}

// SAFETY: every call is handed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
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
fn sending_does_not_allocate_with_whatever_is_cleaned_up() {
    for wanted in [
        CleanUp::NONE,
        CleanUp {
            echo: true,
            ..CleanUp::NONE
        },
        CleanUp::default(),
    ] {
        let mut cleaner = Cleaner::new(wanted).unwrap();
        let mut chain = SendChain::new(&MorphSeed::from_bytes([5; 32]), Character::Free).unwrap();
        let mut frames: Vec<RawPcm> = (0..200).map(raw).collect();
        let mut frame = |i: usize| {
            let (played, said) = (raw(i + 35).0, &mut frames[i]);
            cleaner.hear(&played, FRAME_DURATION * i as u32);
            cleaner.process(said);
            chain.process(said);
            if i % 50 == 49 {
                chain.silence();
            }
        };
        frame(0);
        let count = allocations(|| (1..200).for_each(&mut frame));
        assert_eq!(count, 0, "{wanted:?}");
    }
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
