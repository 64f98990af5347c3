//! As much of the WebAssembly format as it takes to see what a module asks of its host.
//!
//! Source: WebAssembly Core Specification 2.0, section 5.5 (modules).

const MAGIC_AND_VERSION: [u8; 8] = *b"\0asm\x01\0\0\0";
const SECTION_IMPORT: u8 = 2;

/// The imports of a module, each as `module.name`.
///
/// # Errors
/// The reason why these bytes are not a module.
pub(crate) fn imports(module: &[u8]) -> Result<Vec<String>, String> {
    let mut rest = module.strip_prefix(&MAGIC_AND_VERSION).ok_or("not a WebAssembly module of version 1")?;
    while let Some((&id, after)) = rest.split_first() {
        rest = after;
        let mut section = take_sized(&mut rest)?;
        if id == SECTION_IMPORT {
            return import_names(&mut section);
        }
    }
    Ok(Vec::new())
}

fn import_names(section: &mut &[u8]) -> Result<Vec<String>, String> {
    let count = leb128(section)?;
    let mut names = Vec::new();
    for _ in 0..count {
        let module = String::from_utf8_lossy(take_sized(section)?).into_owned();
        let name = String::from_utf8_lossy(take_sized(section)?).into_owned();
        names.push(format!("{module}.{name}"));
        skip_description(section)?;
    }
    Ok(names)
}

/// A function, table, memory or global; what it is does not matter here, only where it ends.
fn skip_description(section: &mut &[u8]) -> Result<(), String> {
    let [kind] = take(section, 1)? else { return Err("an import ends too early".into()) };
    match kind {
        0 => drop(leb128(section)?),
        1 => {
            take(section, 1)?;
            skip_limits(section)?;
        }
        2 => skip_limits(section)?,
        3 => drop(take(section, 2)?),
        other => return Err(format!("an import of unknown kind {other}")),
    }
    Ok(())
}

fn skip_limits(section: &mut &[u8]) -> Result<(), String> {
    let flags = leb128(section)?;
    leb128(section)?;
    if flags & 1 == 1 {
        leb128(section)?;
    }
    Ok(())
}

fn take<'a>(from: &mut &'a [u8], len: usize) -> Result<&'a [u8], String> {
    let (head, rest) = from.split_at_checked(len).ok_or("the module ends too early")?;
    *from = rest;
    Ok(head)
}

fn take_sized<'a>(from: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let len = leb128(from)?;
    take(from, len as usize)
}

fn leb128(from: &mut &[u8]) -> Result<u32, String> {
    let mut n = 0;
    for shift in [0, 7, 14, 21, 28] {
        let byte = take(from, 1)?[0];
        n |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(n);
        }
    }
    Err("a number has too many bytes".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(sections: &[u8]) -> Vec<u8> {
        [&MAGIC_AND_VERSION[..], sections].concat()
    }

    #[test]
    fn imports_are_found_behind_other_sections() {
        let types = [1, 4, 1, 0x60, 0, 0];
        let import = [2, 15, 2, 3, b'e', b'n', b'v', 1, b'f', 0, 0, 1, b'a', 1, b'm', 2, 0];
        let module = module(&[&types[..], &[import[0], 16], &import[2..], &[1]].concat());
        assert_eq!(imports(&module).unwrap(), ["env.f", "a.m"]);
    }

    #[test]
    fn a_module_without_imports_is_pure() {
        assert_eq!(imports(&module(&[1, 4, 1, 0x60, 0, 0])).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_module_is_refused() {
        assert!(imports(b"\x7fELF").is_err());
        assert!(imports(&module(&[2, 9, 1])).is_err());
    }
}
