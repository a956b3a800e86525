// Every expert is on the device, in its place.
fn slotOf(expert: u32) -> u32 { return expert; }

fn noteExperts() {}
