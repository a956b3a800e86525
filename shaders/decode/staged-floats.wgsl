// The input as floats: all first fours of its eights, then all second fours.
var<workgroup> plainX: array<vec4<f32>, COLUMNS / 4u>;
