//! Blocks of a product of matrices by AMX, the tile registers of Intel's server processors since 2023: 16 x 16 sums in single precision of
//! products of bf16 numbers, sixteen times as many a cycle as by fused multiply-adds.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, __get_cpuid_max, _xgetbv};
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::split::{Number, Tile};

/// Rows, and columns, of a block: two tiles each way, so that each tile that is read serves two products.
pub(super) const BLOCK: usize = 32;

/// The sums of a block, row by row.
#[repr(C, align(64))]
pub(super) struct Block(pub [[f32; BLOCK]; BLOCK]);

/// Whether this processor and system have AMX and let this process use it, which is asked for with the first call.
pub(crate) fn usable() -> bool {
    static USABLE: OnceLock<bool> = OnceLock::new();
    *USABLE.get_or_init(|| super::level() == super::Level::Avx512 && processor_has_tiles() && permitted())
}

fn processor_has_tiles() -> bool {
    const LEAF: u32 = 7;
    const OSXSAVE: u32 = 1 << 27;
    const BF16: u32 = 1 << 22;
    const TILES: u32 = 1 << 24;
    if __get_cpuid_max(0).0 < LEAF || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let has = __cpuid_count(LEAF, 0).edx;
    // SAFETY: the processor has XGETBV where the system uses XSAVE.
    has & BF16 != 0 && has & TILES != 0 && unsafe { system_keeps_tiles() }
}

/// Whether the system saves the registers when it switches threads.
#[target_feature(enable = "xsave")]
fn system_keeps_tiles() -> bool {
    /// XTILECFG and XTILEDATA.
    const STATE: u64 = 3 << 17;
    // SAFETY: register 0 is there wherever XGETBV is.
    unsafe { _xgetbv(0) & STATE == STATE }
}

/// Linux keeps the registers' large state from threads whose process has not asked for it; a system that does not know them refuses.
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: this call of the system takes two numbers and touches no memory.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// What the tile registers are: eight of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIGURATION: Configuration = {
    let mut row_bytes = [0; 16];
    let mut rows = [0; 16];
    let mut at = 0;
    while at < 8 {
        row_bytes[at] = 64;
        rows[at] = 16;
        at += 1;
    }
    Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
};

/// The sums of a block, which are in the first four registers, begin with nothing.
macro_rules! zeros {
    () => {
        "tilezero tmm0\ntilezero tmm1\ntilezero tmm2\ntilezero tmm3"
    };
}

/// Two tiles of a part of the left side, at these offsets.
macro_rules! left {
    ($first:literal, $second:literal) => {
        concat!("tileloadd tmm4, [{a} + {row} + ", $first, "]\ntileloadd tmm5, [{a} + {row} + ", $second, "]")
    };
}

/// Two tiles of a part of the right side, at these offsets.
macro_rules! right {
    ($first:literal, $second:literal) => {
        concat!("tileloadd tmm6, [{b} + {row} + ", $first, "]\ntileloadd tmm7, [{b} + {row} + ", $second, "]")
    };
}

/// What was read of the left side, with what was read of the right.
macro_rules! products {
    () => {
        "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm4, tmm7\ntdpbf16ps tmm2, tmm5, tmm6\ntdpbf16ps tmm3, tmm5, tmm7"
    };
}

/// The sums to memory, in rows of two tiles.
macro_rules! stores {
    () => {
        concat!(
            "tilestored [{sums} + {two}], tmm0\ntilestored [{sums} + {two} + 64], tmm1\n",
            "tilestored [{sums} + {two} + 2048], tmm2\ntilestored [{sums} + {two} + 2112], tmm3"
        )
    };
}

/// The tile registers of this thread, configured as long as this lives.
pub(super) struct Tiles(PhantomData<*const ()>);

impl Tiles {
    /// # Safety
    /// [`usable`] said so; no other one lives on this thread, and nothing else configures its registers as long as this one does.
    pub(super) unsafe fn configured() -> Tiles {
        // SAFETY: the caller has AMX; a configuration is 64 bytes that are read.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIGURATION, options(nostack, readonly)) };
        Tiles(PhantomData)
    }

    /// `sums = a b`, `b` being of this number format.
    pub(super) fn multiply<T: Number>(&self, a: &[Tile], b: &[Tile], sums: &mut Block) {
        if T::PARTS == 1 { self.three_products(a, b, sums) } else { self.six_products(a, b, sums) }
    }

    /// `sums = a b` for numbers in three parts each, of which the six products that reach single precision's last place are taken: first with
    /// second, third with first and so on up to second with second. For each step of 32 numbers `a` and `b` have six tiles: by part, then by half of
    /// the block's rows or columns.
    fn six_products(&self, a: &[Tile], b: &[Tile], sums: &mut Block) {
        let steps = a.len() / 6;
        assert!(steps > 0 && a.len() == 6 * steps && b.len() == a.len(), "a block has six tiles a step");
        // SAFETY: who made this has AMX. Tiles are read within `a` and `b`, which have six for each step, and `sums` has room for four tiles whose
        // rows are two tiles apart.
        unsafe {
            asm!(
                zeros!(),
                "2:",
                // The first part of b with each part of a, the last first.
                right!(0, 1024),
                left!(4096, 5120),
                products!(),
                left!(2048, 3072),
                products!(),
                // The second with the second and the first.
                right!(2048, 3072),
                products!(),
                left!(0, 1024),
                products!(),
                // The third, then the first again, with the first.
                right!(4096, 5120),
                products!(),
                right!(0, 1024),
                products!(),
                "add {a}, 6144",
                "add {b}, 6144",
                "dec {steps}",
                "jnz 2b",
                stores!(),
                a = inout(reg) a.as_ptr() => _,
                b = inout(reg) b.as_ptr() => _,
                steps = inout(reg) steps => _,
                sums = in(reg) sums,
                row = in(reg) ROW_BYTES,
                two = in(reg) 2 * ROW_BYTES,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }

    /// As [`six_products`](Tiles::six_products) where the numbers of `b` are bf16: one part, two tiles a step, and three products.
    fn three_products(&self, a: &[Tile], b: &[Tile], sums: &mut Block) {
        let steps = a.len() / 6;
        assert!(steps > 0 && a.len() == 6 * steps && b.len() == 2 * steps, "a block has six tiles a step, and two");
        // SAFETY: as in `six_products`; `b` has two tiles for each step.
        unsafe {
            asm!(
                zeros!(),
                "2:",
                right!(0, 1024),
                left!(4096, 5120),
                products!(),
                left!(2048, 3072),
                products!(),
                left!(0, 1024),
                products!(),
                "add {a}, 6144",
                "add {b}, 2048",
                "dec {steps}",
                "jnz 2b",
                stores!(),
                a = inout(reg) a.as_ptr() => _,
                b = inout(reg) b.as_ptr() => _,
                steps = inout(reg) steps => _,
                sums = in(reg) sums,
                row = in(reg) ROW_BYTES,
                two = in(reg) 2 * ROW_BYTES,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: who made it has AMX. A thread whose registers are empty is switched faster.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// From one row of a tile to the next.
const ROW_BYTES: usize = 64;
