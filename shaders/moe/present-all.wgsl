// Every expert is on the device.
fn isPresent(token: u32) -> bool { return true; }
