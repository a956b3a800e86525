import "./style.css";
import { render } from "preact";
import { App } from "./app.tsx";
import { openArchive } from "./conversations.ts";
import { loadModel, sprout } from "./model.ts";
import { followTheme } from "./theme.ts";
import { followViewport } from "./viewport.ts";

followTheme();
followViewport();
render(<App />, document.querySelector("#app")!);
void openArchive();
void loadModel(sprout);
