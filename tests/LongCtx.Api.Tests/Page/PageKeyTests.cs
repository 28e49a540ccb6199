using System.Net.Http.Json;
using System.Text.Json;
using System.Text.RegularExpressions;
using LongCtx.Client.Tests;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace LongCtx.Api.Tests;

/// <summary>The page of a server that wants API keys.</summary>
public sealed partial class PageKeyTests : IClassFixture<Browser>, IAsyncLifetime
{
    readonly Browser browser;
    readonly string secret;
    readonly RealServer server;

    public PageKeyTests(Browser browser)
    {
        this.browser = browser;
        (secret, ApiKey key) = ApiKey.New("alice");
        server = new() { Keys = [key] };
    }

    public ValueTask InitializeAsync() => server.InitializeAsync();

    public ValueTask DisposeAsync() => server.DisposeAsync();

    [Fact]
    public async Task Page_WithoutAKey_AsksForOneAndGoesOnWithoutAReload()
    {
        IPage page = await browser.OpenAsync(server.Address);
        await Expect(page.GetByRole(AriaRole.Alert)).ToContainTextAsync("This server needs an API key");
        await Expect(page.GetByLabel("API key")).ToBeFocusedAsync();
        await Expect(page.Locator("#key-note")).ToContainTextAsync("needs an API key");
        await Expect(page.Locator("#model option")).ToHaveCountAsync(0);
        await Browser.KeepAsync(page, "key-light");

        // Nothing is sent that cannot be taken, and nothing that was written is lost.
        await SayAsync(page, "Hello");
        await Expect(page.GetByLabel("API key")).ToBeFocusedAsync();
        await Expect(page.Locator(".message")).ToHaveCountAsync(0);
        await GiveAsync(page, "two words");
        await Expect(page.GetByRole(AriaRole.Alert)).ToContainTextAsync("ASCII");
        await GiveAsync(page, "lck_wrong");
        await Expect(page.GetByRole(AriaRole.Alert)).ToContainTextAsync("does not know the API key");

        List<IRequest> requests = [];
        page.Request += (_, request) =>
        {
            lock (requests) requests.Add(request);
        };
        await GiveAsync(page, secret);
        await Expect(page.GetByRole(AriaRole.Alert)).ToHaveCountAsync(0);
        await Expect(page.Locator("#model option")).ToHaveCountAsync(1);
        await Expect(page.GetByRole(AriaRole.Navigation, new() { Name = "Conversations" })).ToBeVisibleAsync();
        await Expect(page.GetByLabel("Message")).ToHaveValueAsync("Hello");
        await SayAsync(page, "Hello");
        await Expect(page.Locator(".message.assistant .body")).Not.ToHaveTextAsync("Reading ");
        await Expect(page.Locator("#conversations a")).ToHaveTextAsync(["Hello"]);
        await Browser.KeepAsync(page, "key-given");

        // It is kept, and belongs to every request, the endless ones among them.
        await page.ReloadAsync();
        await Expect(page.Locator(".message.user .body")).ToHaveTextAsync("Hello");
        await Expect(page.Locator("#conversations a")).ToHaveTextAsync(["Hello"]);
        await Expect(page.GetByLabel("API key")).ToHaveValueAsync(secret);
        await Expect(page.GetByRole(AriaRole.Alert)).ToHaveCountAsync(0);
        IRequest[] asked;
        lock (requests) asked = [.. requests.Where(r => new Uri(r.Url).AbsolutePath.StartsWith("/v1/", StringComparison.Ordinal))];
        Assert.Contains(asked, r => r.Url.Contains("/events?", StringComparison.Ordinal));
        foreach (IRequest request in asked) Assert.Equal(("Bearer " + secret, request.Url), (await request.HeaderValueAsync("authorization"), request.Url));
    }

    [Fact]
    public async Task Page_ConversationOpenedWithoutAKeyOnAPhone_IsThereOnceItIsGiven()
    {
        using HttpClient http = new() { BaseAddress = server.Address, DefaultRequestHeaders = { Authorization = new("Bearer", secret) } };
        object[] items = [new { role = "user", content = "It was said before" }];
        using HttpResponseMessage created = await http.PostAsJsonAsync("/v1/conversations", new { items }, TestContext.Current.CancellationToken);
        JsonElement conversation = await created.Content.ReadFromJsonAsync<JsonElement>(TestContext.Current.CancellationToken);
        string id = conversation.GetProperty("id").GetString()!;

        IPage page = await browser.OpenAsync(new Uri(server.Address, "#" + id), 390, 844, dark: true);
        await Expect(page.GetByLabel("API key")).ToBeFocusedAsync();
        await Expect(page.Locator("#key-note")).ToBeVisibleAsync();
        Assert.Equal(390, await page.EvaluateAsync<int>("document.documentElement.scrollWidth"));
        await Browser.KeepAsync(page, "key-phone-dark");
        await GiveAsync(page, secret);
        await Expect(page.Locator(".message.user .body")).ToHaveTextAsync("It was said before");
        await Expect(page.Locator(".message.user .body")).ToBeVisibleAsync();
        await Expect(page.GetByLabel("API key")).ToBeHiddenAsync(); // the panel has made room for the chat

        // Another server's key, or none, sees nothing of it.
        await page.GetByRole(AriaRole.Button, new() { Name = "Window and settings" }).ClickAsync();
        await GiveAsync(page, "");
        await Expect(page.Locator("#key-note")).ToContainTextAsync("needs an API key");
    }

    /// <summary>A browser that has no key must still get all that asks for one.</summary>
    [Fact]
    public async Task Page_OwnFiles_NeedNoKey()
    {
        using HttpClient http = new() { BaseAddress = server.Address };
        Queue<string> paths = new(["/"]);
        HashSet<string> seen = ["/"];
        while (paths.TryDequeue(out string? path))
        {
            using HttpResponseMessage file = await http.GetAsync(path, TestContext.Current.CancellationToken);
            Assert.Equal((path, 200), (path, (int)file.StatusCode));
            string text = await file.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
            foreach (Match named in FileName().Matches(text).Where(m => seen.Add("/page/" + m.Groups["name"].Value))) paths.Enqueue("/page/" + named.Groups["name"].Value);
        }
        Assert.Superset(new HashSet<string> { "/page/page.css", "/page/main.js", "/page/api.js", "/page/journal.js" }, seen);
        using HttpResponseMessage refused = await http.GetAsync("/v1/models", TestContext.Current.CancellationToken);
        Assert.Equal(401, (int)refused.StatusCode);
    }

    static async Task SayAsync(IPage page, string text)
    {
        await page.GetByLabel("Message").FillAsync(text);
        await page.GetByLabel("Message").PressAsync("Enter");
    }

    static async Task GiveAsync(IPage page, string key)
    {
        await page.GetByLabel("API key").FillAsync(key);
        await page.GetByLabel("API key").PressAsync("Enter");
    }

    [GeneratedRegex("\"(/page|\\.)/(?<name>[a-z]+\\.(js|css))\"")]
    private static partial Regex FileName();
}
