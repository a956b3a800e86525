/** Keeps the composer above on-screen keyboards that cover the page instead of shrinking it (iOS). */
export function followViewport(): void {
  const viewport = window.visualViewport;
  if (!viewport) return;
  const apply = () => {
    const isCovered = window.innerHeight - viewport.height > 120;
    document.documentElement.style.setProperty("--height", isCovered ? `${viewport.height}px` : "100dvh");
  };
  viewport.addEventListener("resize", apply);
}
