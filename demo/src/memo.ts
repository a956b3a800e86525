import { Component, type ComponentChild, type ComponentType, h } from "preact";

/** A component that draws again only when one of its properties is another value. */
export function memo<Props extends object>(draw: (props: Props) => ComponentChild): ComponentType<Props> {
  return class Memo extends Component<Props> {
    override shouldComponentUpdate(next: Readonly<Props>): boolean {
      return (Object.keys({ ...next, ...this.props }) as (keyof Props)[]).some((key) => next[key] !== this.props[key]);
    }

    override render(props: Props): ComponentChild {
      return h(draw as ComponentType<Props>, props);
    }
  };
}
