/** The texts of the page, one table a language. Both have the same keys. */

export const TEXTS = {
  en: {
    title: "Draw – kmnist",
    draw: "Draw",
    connecting: "Connecting to the model …",
    ready: "Ready",
    retrying: (message) => `${message} Retrying …`,
    version: (number) => `version ${number}`,

    drawing: "Drawing",
    sheet: "Drawing area",
    drawHere: "Draw here",
    drawOne: (count) => `Draw one of ${count} classes`,
    drawDigit: (first, last) => `Draw a digit from ${first} to ${last}`,
    examples: "or try an example",
    undo: "Undo",
    redo: "Redo",
    clear: "Clear",
    picture: "Picture",

    prediction: "Prediction",
    nothing: "Nothing drawn yet",
    tooSmall: "Too small: draw larger",
    waiting: "No prediction yet",
    sure: (share) => `${share} sure`,
    unsure: (share, second, secondShare) => `${share} sure, or ${second} with ${secondShare}`,
    seen: "The image that the model received",
    input: "Model input",
    inkTimesWeight: (sum) => `Ink × weight: ${sum}`,
    weights: (name) => `Weights of ${name}`,
    legend:
      "The images show the weights of each class: ink on {0} pixels raises its score, ink on {1} pixels " +
      "lowers it. Point at a class, or tap it, to see ink × weight: in a model of one dense layer, the sum " +
      "of these plus a bias is the score, the logit.",
    blue: "blue",
    red: "red",

    help: "Help",
    anywhere: "You can drop or paste a picture anywhere on this page.",
    more: "Keyboard and pictures",
    keys: "{0} {1} undoes, {2} {3} redoes, {4} clears, {5} {6} pastes a picture.",
    penKeys:
      "In the drawing area, {0} lowers and lifts the pen, and the arrow keys move it; two of them together " +
      "move it diagonally.",
    weightKeys: "The arrow keys move from the weights of one class to those of the next.",
    space: "Space",
    cutOut: "An object cut out on a transparent canvas must be as light or as dark as in the training data.",

    notPicture: (file) => `${file} is not a picture that this browser can read.`,
    notPasted: "The clipboard contains no picture.",
    notDropped: "The dropped item is not a file.",
    internal: (message) => `Internal error of this page: ${message}`,
    unreachable: "The server cannot be reached.",
    silent: "The server does not answer.",
    loading: (version) => `Version ${version} of the model is loading.`,
    notLoaded: (version, why) => `Version ${version} of the model could not be loaded: ${why}`,
    unloaded: "The server has unloaded the model.",
    noModel: (name) => `The server has no model “${name}”. Add ?model=NAME to the address of this page.`,
    overloaded: "The server is overloaded.",
    starting: "The model server cannot be reached. It may be starting.",
    refused: (why) => `The server refused the request: ${why}`,
    failed: (status, why) => `The server reported error ${status}: ${why || "no details."}`,
  },

  ko: {
    title: "그리기 – kmnist",
    draw: "그리기",
    connecting: "모델에 연결하는 중 …",
    ready: "준비됨",
    retrying: (message) => `${message} 다시 시도하는 중 …`,
    version: (number) => `버전 ${number}`,

    drawing: "그리기",
    sheet: "그리는 영역",
    drawHere: "여기에 그려 보세요",
    drawOne: (count) => `클래스 ${count}개 중 하나를 그려 보세요`,
    drawDigit: (first, last) => `${first}부터 ${last}까지의 숫자를 그려 보세요`,
    examples: "또는 예시를 골라 보세요",
    undo: "실행 취소",
    redo: "다시 실행",
    clear: "지우기",
    picture: "그림",

    prediction: "예측",
    nothing: "아직 그린 것이 없습니다",
    tooSmall: "너무 작습니다. 더 크게 그려 주세요",
    waiting: "아직 예측이 없습니다",
    sure: (share) => `${share} 확신`,
    unsure: (share, second, secondShare) => `${share} 확신, 그다음은 ${second} (${secondShare})`,
    seen: "모델이 받은 이미지",
    input: "모델 입력",
    inkTimesWeight: (sum) => `잉크 × 가중치: ${sum}`,
    weights: (name) => `${name}의 가중치`,
    legend:
      "작은 그림은 클래스별 가중치입니다. {0} 픽셀에 잉크가 있으면 점수가 올라가고, {1} 픽셀에 있으면 " +
      "내려갑니다. 클래스를 가리키거나 누르면 잉크 × 가중치가 보입니다. Dense 층이 하나인 모델에서는 그 합에 " +
      "편향을 더한 값이 점수, 곧 로짓입니다.",
    blue: "파란색",
    red: "빨간색",

    help: "도움말",
    anywhere: "이 페이지 어디에나 그림을 끌어다 놓거나 붙여 넣을 수 있습니다.",
    more: "키보드와 그림",
    keys: "{0} {1} 실행 취소, {2} {3} 다시 실행, {4} 지우기, {5} {6} 그림 붙여넣기.",
    penKeys:
      "그리는 영역에서 {0} 키로 펜을 내리거나 들고, 화살표 키로 펜을 움직입니다. 화살표 키 두 개를 함께 " +
      "누르면 대각선으로 움직입니다.",
    weightKeys: "화살표 키로 클래스별 가중치 그림 사이를 옮겨 다닙니다.",
    space: "스페이스바",
    cutOut: "투명한 배경에 오려 낸 물체는 밝기가 학습 데이터와 같아야 합니다.",

    notPicture: (file) => `${file}: 이 브라우저가 읽을 수 있는 그림이 아닙니다.`,
    notPasted: "클립보드에 그림이 없습니다.",
    notDropped: "끌어다 놓은 것이 파일이 아닙니다.",
    internal: (message) => `이 페이지의 내부 오류: ${message}`,
    unreachable: "서버에 연결할 수 없습니다.",
    silent: "서버가 응답하지 않습니다.",
    loading: (version) => `모델 버전 ${version}: 불러오는 중입니다.`,
    notLoaded: (version, why) => `모델 버전 ${version}: 불러오지 못했습니다. ${why}`,
    unloaded: "서버가 모델을 내렸습니다.",
    noModel: (name) => `서버에 “${name}” 모델이 없습니다. 이 페이지 주소 끝에 ‘?model=이름’을 붙여 주세요.`,
    overloaded: "서버에 요청이 너무 많습니다.",
    starting: "모델 서버에 연결할 수 없습니다. 시작하는 중일 수 있습니다.",
    refused: (why) => `서버가 요청을 거부했습니다: ${why}`,
    failed: (status, why) => `서버 오류 ${status}: ${why || "자세한 내용이 없습니다."}`,
  },
};

const language = navigator.languages.map((tag) => tag.split("-")[0]).find((tag) => tag in TEXTS) ?? "en";

/** The texts in the first language of the browser that the page speaks, otherwise in English. */
export const text = TEXTS[language];

/** Writes the texts that index.html names; {0} in a text stands for the first child of the element. */
export function translate() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-label]")) element.ariaLabel = text[element.dataset.label];
  for (const element of document.querySelectorAll("[data-text]")) {
    const children = [...element.children];
    const parts = text[element.dataset.text].split(/\{(\d)\}/);
    element.append(...parts.map((part, i) => (i % 2 ? children[part] : part)));
  }
}
