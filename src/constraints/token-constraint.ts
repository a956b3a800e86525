/** Says, token by token, how a reply may go on. */
export interface TokenConstraint {
  /**
   * The ids that may come next: id i is bit i % 32 of word ⌊i / 32⌋. No bit at all means that the reply is complete and
   * has no token to end with.
   */
  mask(): Promise<Uint32Array>;
  /** Moves on by a token that the mask allowed. */
  accept(token: number): void;
  dispose(): void;
}
