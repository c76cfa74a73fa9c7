//! Until when each address may be effective, where the programs read it.
//!
//! Two maps: `address → place`, and an array of deadlines by place. A deadline is written into its
//! place, eight bytes at once. In a hash map it would not be: the kernel puts a new element beside
//! the old one and uses the old one again for the next address that is written, so a packet that is
//! just being judged could find another address's deadline there, and a mute one be let through.
#![allow(unsafe_code)] // the array is shared with the kernel

use super::{Attr, MAP_CREATE, MAP_DELETE, MAP_LOOKUP, MAP_NEXT, MAP_UPDATE, NAME};
use crate::guard::Key;
use crate::upgrade::Inherited;
use onehold_core::config::MAX_ADDRESSES;
use onehold_core::time::LocalTime;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::c_void;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Of a deadline, in bytes.
const SIZE: usize = size_of::<u64>();
/// Most addresses that are read from an earlier incarnation.
const MOST: usize = 1 << 16;

/// The maps, as the programs know them.
#[derive(Debug)]
pub(in crate::guard) struct Maps {
    /// `address → place`
    pub(in crate::guard) places: OwnedFd,
    /// `place → deadline`
    pub(in crate::guard) deadlines: OwnedFd,
}

/// The maps, for another program of this process: their descriptors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::guard) struct Carried {
    places: RawFd,
    deadlines: RawFd,
    room: u32,
}

impl Carried {
    pub(in crate::guard) fn fds(&self) -> [RawFd; 2] {
        [self.places, self.deadlines]
    }
}

/// The deadlines of addresses. An address that has none is none of the gate's business.
#[derive(Debug)]
pub(in crate::guard) struct Deadlines {
    maps: Maps,
    array: Array,
    places: BTreeMap<Key, u32>,
    /// The places of no address, the one that has been so for longest first: a packet that is being
    /// judged by it has long been.
    free: VecDeque<u32>,
}

impl Deadlines {
    /// With room for so many addresses, and for all others that may come and go while the programs
    /// hang: as many as a configuration can have are forgotten only when as many new ones are there
    /// (200 KiB).
    pub(in crate::guard) fn with_room_for(addresses: usize) -> io::Result<Self> {
        const HASH: u32 = 1;
        const ARRAY: u32 = 2;
        const MAPPABLE: u32 = 1 << 10;
        let room = addresses.max(MAX_ADDRESSES) + MAX_ADDRESSES;
        let room = u32::try_from(room).map_err(|_| io::ErrorKind::InvalidInput)?;
        let map = |kind, key: usize, value: usize, flags| {
            let size = |n| u32::try_from(n).unwrap_or(0);
            (Attr::new()
                .u32(0, kind)
                .u32(4, size(key))
                .u32(8, size(value)))
            .u32(12, room)
            .u32(16, flags)
            .name(28, NAME)
            .open(MAP_CREATE)
        };
        let maps = Maps {
            places: map(HASH, size_of::<Key>(), size_of::<u32>(), 0)?,
            deadlines: map(ARRAY, size_of::<u32>(), SIZE, MAPPABLE)?,
        };
        Self::over(maps, room)
    }

    /// What stands in the maps stays.
    fn over(maps: Maps, room: u32) -> io::Result<Self> {
        let mut places = BTreeMap::new();
        for key in keys(&maps.places)? {
            places.insert(key, place(&maps.places, &key)?);
        }
        let taken: BTreeSet<&u32> = places.values().collect();
        Ok(Self {
            array: Array::of(&maps.deadlines, room)?,
            free: (0..room).filter(|n| !taken.contains(n)).collect(),
            maps,
            places,
        })
    }

    pub(in crate::guard) fn carried(&self) -> Carried {
        Carried {
            places: self.maps.places.as_raw_fd(),
            deadlines: self.maps.deadlines.as_raw_fd(),
            room: self.array.room(),
        }
    }

    pub(in crate::guard) fn inherit(carried: &Carried, from: &Inherited) -> Result<Self, String> {
        let maps = Maps {
            places: from.take(carried.places)?,
            deadlines: from.take(carried.deadlines)?,
        };
        Self::over(maps, carried.room).map_err(|e| format!("reading the guard's deadlines: {e}"))
    }

    pub(in crate::guard) const fn maps(&self) -> &Maps {
        &self.maps
    }

    /// Lets `key` be effective until `deadline`. It asks the kernel only for an address that is new.
    ///
    /// # Errors
    /// When there is no room for one more address (`E2BIG`), or the kernel refuses.
    pub(in crate::guard) fn set(&mut self, key: &Key, deadline: LocalTime) -> io::Result<()> {
        if let Some(place) = self.places.get(key) {
            self.array.write(*place, deadline);
            return Ok(());
        }
        let full = || io::Error::from_raw_os_error(libc::E2BIG);
        let place = *self.free.front().ok_or_else(full)?;
        self.array.write(place, deadline);
        (Attr::new().fd(0, &self.maps.places).pointer(8, key))
            .pointer(16, &place)
            .call(MAP_UPDATE)?;
        self.free.pop_front();
        self.places.insert(*key, place);
        Ok(())
    }

    /// From now on `key` is none of the gate's business. That it has no deadline is not an error.
    pub(in crate::guard) fn forget(&mut self, key: &Key) -> io::Result<()> {
        let attr = Attr::new().fd(0, &self.maps.places).pointer(8, key);
        match attr.call(MAP_DELETE) {
            Err(e) if e.raw_os_error() != Some(libc::ENOENT) => return Err(e),
            _ => self.free.extend(self.places.remove(key)),
        }
        Ok(())
    }
}

/// Every address of a map.
pub(super) fn keys(map: &impl AsFd) -> io::Result<Vec<Key>> {
    let mut keys: Vec<Key> = Vec::new();
    while keys.len() < MOST {
        let mut next: Key = [0; 16];
        let attr = Attr::new().fd(0, map);
        let attr = match keys.last() {
            Some(last) => attr.pointer(8, last),
            None => attr,
        };
        match attr.pointer_mut(16, &mut next).call(MAP_NEXT) {
            Ok(_) => keys.push(next),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => break,
            Err(e) => return Err(e),
        }
    }
    Ok(keys)
}

fn place(map: &impl AsFd, key: &Key) -> io::Result<u32> {
    let mut place: u32 = 0;
    let attr = Attr::new().fd(0, map).pointer(8, key);
    attr.pointer_mut(16, &mut place).call(MAP_LOOKUP)?;
    Ok(place)
}

/// The array of deadlines, in this process's memory.
#[derive(Debug)]
struct Array(NonNull<[AtomicU64]>);

impl Array {
    fn of(map: &OwnedFd, room: u32) -> io::Result<Self> {
        let room = room as usize;
        let (access, length) = (ProtFlags::READ | ProtFlags::WRITE, room * SIZE);
        // SAFETY: a new mapping, at an address that the kernel chooses. Where the map is shorter, the
        // kernel refuses.
        let at = unsafe {
            mmap(
                std::ptr::null_mut(),
                length,
                access,
                MapFlags::SHARED,
                map,
                0,
            )
        }?;
        let at = NonNull::new(at.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self(NonNull::slice_from_raw_parts(at, room)))
    }

    fn room(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    fn write(&self, place: u32, deadline: LocalTime) {
        // SAFETY: the mapping is as long as this and aligned to a page, and lives as long as `self`;
        // all that others do with it meanwhile is to read it, eight bytes at once.
        let array = unsafe { self.0.as_ref() };
        if let Some(at) = array.get(place as usize) {
            at.store(deadline.as_nanos(), Ordering::Release);
        }
    }
}

// SAFETY: it is memory that all threads of the process have, and written by atomic stores.
unsafe impl Send for Array {}

impl Drop for Array {
    fn drop(&mut self) {
        let at: *mut c_void = self.0.as_ptr().cast();
        // SAFETY: the mapping that `of` made, of which nobody has a reference any more.
        let _ = unsafe { munmap(at, self.0.len() * SIZE) };
    }
}
