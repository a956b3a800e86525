// Whether all experts of a token are on the device.
fn isPresent(token: u32) -> bool {
  for (var k = 0u; k < TOP_K; k++) {
    if (ids[token * TOP_K + k] == 0xffffffffu) { return false; }
  }
  return true;
}
