using System.Text.RegularExpressions;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace LongCtx.Api.Tests;

/// <summary>The page in a real browser.</summary>
public sealed partial class PageTests(Browser browser) : IClassFixture<Browser>, IAsyncLifetime
{
    const string Markdown = """
        # The sea

        The **king** went to the *sea* and said `hello`, then read [a page](https://example.org/a?b=c).

        - one
        - two
          1. inner
        - three

        > A quote
        > of two lines

        ```csharp
        if (a < b) return "<b>not bold</b>";
        ```

        A line with snake_case_name and 2 * 3 * 4.
        """;

    readonly ScriptedHost host = new();
    readonly List<string> problems = [];
    ApiServer server = null!;

    public async ValueTask InitializeAsync() => server = await ApiServer.StartAsync(host);

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Fact]
    public async Task Page_Chat_StreamsMarkdownAndFillsThePanel()
    {
        TaskCompletionSource half = new(TaskCreationOptions.RunContinuationsAsynchronously);
        host.Reply = _ => Markdown;
        host.Before = (token, cancellation) => token == 12 ? half.Task.WaitAsync(cancellation) : Task.CompletedTask;
        IPage page = await OpenAsync();
        await Expect(page.Locator("#model option")).ToHaveTextAsync([ScriptedHost.Chat, "owner/name"]);
        await page.GetByLabel("System prompt").FillAsync("Be brief.");
        await SayAsync(page, "Tell me about the sea");

        ILocator reply = page.Locator(".message.assistant .body");
        await Expect(reply).ToContainTextAsync("The king went to the sea");
        await Expect(page.GetByRole(AriaRole.Button, new() { Name = "Stop" })).ToBeVisibleAsync();
        await Expect(page.Locator("#reply-tokens")).ToHaveTextAsync("12");
        half.SetResult();

        await Expect(reply.Locator("h3")).ToHaveTextAsync("The sea");
        await Expect(reply.Locator("strong")).ToHaveTextAsync("king");
        await Expect(reply.Locator("em")).ToHaveTextAsync("sea");
        await Expect(reply.Locator("p code")).ToHaveTextAsync("hello");
        await Expect(reply.Locator("> ul > li")).ToHaveCountAsync(3);
        await Expect(reply.Locator("li ol li")).ToHaveTextAsync("inner");
        await Expect(reply.Locator("blockquote")).ToContainTextAsync("of two lines");
        await Expect(reply.Locator("pre code")).ToHaveTextAsync("if (a < b) return \"<b>not bold</b>\";");
        await Expect(reply.Locator("a")).ToHaveAttributeAsync("href", "https://example.org/a?b=c");
        await Expect(reply).ToContainTextAsync("snake_case_name and 2 * 3 * 4.");

        await Expect(page.GetByRole(AriaRole.Button, new() { Name = "Send" })).ToBeVisibleAsync();
        await Expect(page.Locator("#prompt-tokens")).ToHaveTextAsync("13");
        await Expect(page.Locator("#cached-tokens")).ToHaveTextAsync("0");
        await Expect(page.Locator("#speed")).ToHaveTextAsync(Number());
        await Expect(page.Locator("#fill")).ToHaveTextAsync(new Regex("% full$"));
        Assert.Equal([new("system", "Be brief."), new ChatMessage("user", "Tell me about the sea")], host.LastRequest!.Messages!);
        await Browser.KeepAsync(page, "desktop-light");

        host.Reply = _ => "Short.";
        await SayAsync(page, "And now?");
        await Expect(page.Locator(".message.assistant .body").Last).ToHaveTextAsync("Short.");
        Assert.Equal(Markdown.ReplaceLineEndings("\n"), host.LastRequest!.Messages![2].Content.ReplaceLineEndings("\n"));
        await Expect(page.Locator("#cached-tokens")).Not.ToHaveTextAsync("0");
        Assert.Empty(problems);
    }

    [Fact]
    public async Task Page_HostileReply_StaysText()
    {
        const string Hostile = "<img src=x onerror=\"document.title='owned'\"> <script>document.title='owned'</script> [click](javascript:alert(1)) "
            + "[data](data:text/html,x) **<svg onload=alert(1)>** `<b>`";
        host.Reply = request => request.Messages![^1].Content;
        IPage page = await OpenAsync();
        await SayAsync(page, Hostile);
        await Expect(page.Locator(".actions button")).ToBeVisibleAsync();
        await Expect(page.Locator(".message img, .message script, .message svg, .message a, .message .body b")).ToHaveCountAsync(0);
        await Expect(page.Locator(".message.assistant .body")).ToContainTextAsync("<img src=x onerror=");
        await Expect(page.Locator(".message.assistant .body")).ToContainTextAsync("[click](javascript:alert(1))");
        await Expect(page).ToHaveTitleAsync("LongCtx");
        Assert.Empty(problems);
    }

    [Fact]
    public async Task Page_DeepNesting_DoesNotBreakThePage()
    {
        string deep = new string('>', 20_000) + " x\n\n" + string.Join('\n', Enumerable.Range(0, 500).Select(i => new string(' ', i) + "- x"));
        host.Reply = _ => deep;
        IPage page = await OpenAsync();
        await SayAsync(page, "go");
        await Expect(page.Locator(".actions button")).ToBeVisibleAsync();
        await Expect(page.Locator(".error")).ToHaveCountAsync(0);
        Assert.Empty(problems);
    }

    [Fact]
    public async Task Page_WindowOverflows_MarksWhatHasLeft()
    {
        host.Capacity = 96;
        host.Sinks = 8;
        host.Reply = _ => "It was a long and quiet day by the sea, and nobody said a word until the evening came. " + string.Join(' ', Enumerable.Range(0, 12));
        IPage page = await OpenAsync(dark: true);
        await page.GetByLabel("System prompt").FillAsync("Be brief.");
        for (int turn = 0; turn < 5; turn++)
        {
            await SayAsync(page, $"Question {turn}: what happened then, on that day?");
            await Expect(page.Locator(".message.assistant .body").Nth(turn)).ToContainTextAsync("11");
            await Expect(page.Locator(".actions button")).ToBeVisibleAsync();
        }
        await Expect(page.Locator(".message.system .tag")).ToHaveTextAsync("always kept");
        await Expect(page.Locator(".message").Nth(1).Locator(".tag")).ToHaveTextAsync("left the window");
        await Expect(page.Locator(".message").Nth(2).Locator(".tag")).ToHaveTextAsync("left the window");
        await Expect(page.Locator(".message").Last.Locator(".tag")).ToHaveCountAsync(0);
        await Expect(page.Locator(".edge")).ToHaveCountAsync(1);
        await Expect(page.Locator("#fill")).ToHaveTextAsync("full, moving on");
        // 5 turns of 11 + 31 tokens and 5 of the system prompt = 215; 96 stay, evicted in blocks of 16.
        await Expect(page.Locator("#total")).ToHaveTextAsync("215 tokens");
        await Expect(page.Locator("#evicted")).ToHaveTextAsync("128");
        await Browser.KeepAsync(page, "desktop-dark");
        Assert.Empty(problems);
    }

    [Fact]
    public async Task Page_Stop_EndsTheReplyAndKeepsItsText()
    {
        host.Before = (token, cancellation) => token == 2 ? Task.Delay(Timeout.Infinite, cancellation) : Task.CompletedTask;
        IPage page = await OpenAsync();
        await SayAsync(page, "one two three");
        await Expect(page.Locator(".message.assistant .body")).ToHaveTextAsync("You said:");
        await page.GetByRole(AriaRole.Button, new() { Name = "Stop" }).ClickAsync();
        await Expect(page.GetByRole(AriaRole.Button, new() { Name = "Send" })).ToBeVisibleAsync();
        while ((await host.GetStatusAsync(Cancellation)).Running > 0) await Task.Delay(5, Cancellation);
        await Expect(page.Locator(".error")).ToHaveCountAsync(0);

        host.Before = (_, _) => Task.CompletedTask;
        await SayAsync(page, "again");
        await Expect(page.Locator(".message.assistant .body").Last).ToHaveTextAsync("You said: again");
        Assert.Equal("You said:", host.LastRequest!.Messages![1].Content);
        Assert.Empty(problems);
    }

    [Fact]
    public async Task Page_ServerRefuses_ShowsTheReasonAndAsksAgain()
    {
        host.Places = 0;
        IPage page = await OpenAsync();
        await SayAsync(page, "hello");
        await Expect(page.GetByRole(AriaRole.Alert)).ToContainTextAsync("All places are taken. Try again in 3 s.");
        await Expect(page.GetByRole(AriaRole.Alert)).ToContainTextAsync("queue_full");
        await Browser.KeepAsync(page, "error");
        host.Places = 8;
        await page.GetByRole(AriaRole.Button, new() { Name = "Write again" }).ClickAsync();
        await Expect(page.Locator(".message.assistant .body")).ToHaveTextAsync("You said: hello");
        await Expect(page.GetByRole(AriaRole.Alert)).ToHaveCountAsync(0);
        Assert.Equal([new ChatMessage("user", "hello")], host.LastRequest!.Messages!);
    }

    [Fact]
    public async Task Page_EngineFailsInTheMiddle_KeepsTheTextAndShowsTheReason()
    {
        host.Before = (token, _) => token == 2 ? throw new LongCtxException(ErrorCode.EngineFailure, "The engine broke.") : Task.CompletedTask;
        IPage page = await OpenAsync();
        await SayAsync(page, "hello");
        await Expect(page.GetByRole(AriaRole.Alert)).ToContainTextAsync("The engine broke.");
        await Expect(page.Locator(".message.assistant .body")).ToHaveTextAsync("You said:");
    }

    [Fact]
    public async Task Page_Phone_FitsAndOpensThePanel()
    {
        host.Reply = _ => Markdown;
        IPage page = await OpenAsync(390, 844);
        await SayAsync(page, "Tell me about the sea, and take your time: it is a long way to the shore");
        await Expect(page.Locator(".actions button")).ToBeVisibleAsync();
        await Expect(page.Locator("#strip-text")).ToContainTextAsync("/ 4,096");
        Assert.Equal(390, await page.EvaluateAsync<int>("document.documentElement.scrollWidth"));
        await Browser.KeepAsync(page, "phone");
        await page.GetByRole(AriaRole.Button, new() { Name = "Window and settings" }).ClickAsync();
        await Expect(page.Locator("#meter")).ToBeVisibleAsync();
        await Browser.KeepAsync(page, "phone-panel");
        Assert.Empty(problems);
    }

    [Fact]
    public async Task Page_Settings_ReachTheRequestAndOutliveAReload()
    {
        IPage page = await OpenAsync();
        await Browser.KeepAsync(page, "empty");
        await page.GetByLabel("Model").SelectOptionAsync("owner/name");
        await page.GetByLabel("Temperature").FillAsync("1.3");
        await page.GetByText("Dark", new() { Exact = true }).ClickAsync();
        await page.ReloadAsync();
        await Expect(page.Locator("html")).ToHaveAttributeAsync("data-theme", "dark");
        await Expect(page.GetByLabel("Model")).ToHaveValueAsync("owner/name");
        await SayAsync(page, "hello");
        await Expect(page.Locator(".message.assistant .body")).ToHaveTextAsync("You said: hello");
        Assert.Equal("owner/name", host.LastRequest!.Model);
        Assert.Equal(1.3f, host.LastRequest.Sampling.Temperature);
        await page.GetByRole(AriaRole.Button, new() { Name = "New chat" }).ClickAsync();
        await Expect(page.Locator(".message")).ToHaveCountAsync(0);
        Assert.Empty(problems);
    }

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    async Task<IPage> OpenAsync(int width = 1280, int height = 800, bool dark = false)
    {
        IPage page = await browser.OpenAsync(server.Address, width, height, dark);
        page.PageError += (_, error) => problems.Add(error);
        page.Console += (_, message) =>
        {
            if (message.Type == "error") problems.Add(message.Text);
        };
        return page;
    }

    static async Task SayAsync(IPage page, string text)
    {
        await page.GetByLabel("Message").FillAsync(text);
        await page.GetByLabel("Message").PressAsync("Enter");
    }

    [GeneratedRegex(@"^\d+(\.\d)?$")]
    private static partial Regex Number();
}
