import { appendFileSync } from "node:fs";
import { relative } from "node:path";
import type { Reporter, TestCase, TestModule, TestSuite } from "vitest/node";

type Failures = readonly { readonly message: string; readonly stack?: string }[];

/**
 * Writes to the file SLUICE_TEST_FAILURES, a line of JSON each, which tests begin and end and what fails, when it does: so that
 * it can be told at the end of all, also of a run that took too long.
 */
export default class FailuresReporter implements Reporter {
  readonly #file = process.env.SLUICE_TEST_FAILURES!;

  onTestCaseReady(test: TestCase): void {
    this.#write({ began: nameOf(test) });
  }

  onTestCaseResult(test: TestCase): void {
    const { state, errors = [] } = test.result();
    this.#write({ ended: nameOf(test), errors: state === "failed" ? errors.map(text) : [] });
  }

  /** What came before or after its tests. */
  onTestSuiteResult(suite: TestSuite): void {
    this.#tell(nameOf(suite), suite.errors());
  }

  onTestModuleEnd(module: TestModule): void {
    this.#tell(pathOf(module), module.errors());
  }

  onTestRunEnd(_: readonly TestModule[], unhandled: Failures): void {
    this.#tell("an error that no test met", unhandled);
  }

  #tell(name: string, errors: Failures): void {
    if (errors.length > 0) this.#write({ ended: name, errors: errors.map(text) });
  }

  #write(line: object): void {
    appendFileSync(this.#file, `${JSON.stringify(line)}\n`);
  }
}

const pathOf = (module: TestModule): string => relative(process.cwd(), module.moduleId);

const nameOf = (test: TestCase | TestSuite): string => `${pathOf(test.module)} > ${test.fullName}`;

/** The message's first lines, and where in the tests it came from. */
function text({ message, stack = "" }: Failures[number]): string {
  const place = stack.split("\n").find((line) => /\/test\/.*:\d+/.test(line));
  const lines = message.split("\n").filter((line) => line.trim() !== "");
  return [...lines.slice(0, 4), ...(place ? [place.trim()] : [])].join("\n");
}
