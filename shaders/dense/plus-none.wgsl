fn plusAt(row: u32, column: u32) -> f32 { return 0.0; }
