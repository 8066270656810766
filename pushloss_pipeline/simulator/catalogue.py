"""The losses a simulated app can meet: stage, vendor, code, usual rate and text."""

from dataclasses import dataclass
from typing import Literal

Stage = Literal["ready_to_send", "post_send_delivered"]

READY: Stage = "ready_to_send"
POST: Stage = "post_send_delivered"

PLATFORM_SHARES = {
    0: 0.02,
    1: 0.30,
    2: 0.14,
    3: 0.17,
    4: 0.08,
    5: 0.01,
    6: 0.12,
    7: 0.10,
    8: 0.06,
}
"""Usual share of the messages per `PushPlatform` (APNs is 1, vivo 7 …)."""


@dataclass(frozen=True, slots=True)
class LossCode:
    """One way to lose messages, and how its count is told as time goes by."""

    stage: Stage
    platform_id: int
    err_code: str
    per_10k: float
    """Losses per 10,000 messages of the platform."""
    err_info: str
    late_err_info: str | None = None
    """The text told from three days after the day's end, where it changes."""
    appears_after_days: float = 0.0
    """Whole days and parts after the day's end before the first count is told."""
    vanishes_after_days: float | None = None
    """Days after the day's end when the vendor withdraws the code."""


LOSS_CODES: tuple[LossCode, ...] = (
    *(LossCode(READY, p, "-1", 60, "certificate id not set") for p in PLATFORM_SHARES),
    *(LossCode(READY, p, "-2", 45, "token not uploaded") for p in PLATFORM_SHARES),
    LossCode(POST, 0, "-1", 15, "unknown error"),
    LossCode(POST, 1, "410", 120, "Unregistered"),
    LossCode(POST, 1, "400", 14, "BadDeviceToken"),
    LossCode(POST, 1, "403", 0.4, "InvalidProviderToken"),
    LossCode(POST, 1, "413", 0.3, "PayloadTooLarge"),
    LossCode(POST, 1, "429", 2, "TooManyRequests"),
    LossCode(POST, 1, "503", 1, 'ServiceUnavailable: "Shutdown"'),
    LossCode(POST, 1, "DeviceTokenNotForTopic", 3, "DeviceTokenNotForTopic"),
    LossCode(POST, 2, "16", 90, "target is invalid", late_err_info="目标设备无效"),
    LossCode(POST, 2, "32", 40, "用户关闭了通知"),
    LossCode(POST, 2, "128", 12, "设备单应用推送数量超限"),
    LossCode(POST, 2, "1024", 25, "消息已过期", appears_after_days=1),
    LossCode(POST, 2, "-1", 4, "未知错误", vanishes_after_days=2),
    LossCode(POST, 2, "10008", 0.5, '参数错误: "extra.channel_id" 无效'),
    LossCode(POST, 2, "200001", 3, "超出当日推送限额"),
    LossCode(POST, 3, "80300007", 35, "All tokens are invalid"),
    LossCode(POST, 3, "80100000", 12, "Some tokens are right, the others are illegal"),
    LossCode(POST, 3, "80200003", 0.3, 'OAuth token expired: {"sub_error":20171}'),
    LossCode(POST, 3, "80100016", 0.4, "消息内容含敏感信息"),
    LossCode(POST, 3, "2", 30, "应用未安装"),
    LossCode(POST, 3, "5", 18, "token不存在"),
    LossCode(POST, 3, "6", 55, "通知栏消息被关闭"),
    LossCode(POST, 3, "10", 16, "非活跃设备"),
    LossCode(POST, 3, "15", 9, "离线消息覆盖", appears_after_days=0.5),
    LossCode(POST, 3, "102", 8, "频控丢弃"),
    LossCode(POST, 3, "256", 20, "营销类消息达到单设备单应用每日上限"),
    LossCode(POST, 4, "UNREGISTERED", 95, "Requested entity was not found."),
    LossCode(
        POST,
        4,
        "INVALID_ARGUMENT",
        6,
        'The registration token is not a valid FCM registration token\nfield: "token"',
    ),
    LossCode(POST, 4, "SENDER_ID_MISMATCH", 2, "SenderId mismatch"),
    LossCode(POST, 4, "QUOTA_EXCEEDED", 1.5, 'Quota exceeded for quota metric "send"'),
    LossCode(POST, 4, "UNAVAILABLE", 2, "The service is currently unavailable."),
    LossCode(POST, 4, "UNSPECIFIED_ERROR", 2, "Unspecified", vanishes_after_days=2),
    LossCode(POST, 5, "110002", 70, "pushId已取消订阅"),
    LossCode(POST, 5, "110003", 15, "pushId非法"),
    LossCode(POST, 5, "520", 8, "消息折叠"),
    LossCode(POST, 5, "110010", 4, "应用推送速率过快"),
    LossCode(POST, 6, "1", 65, "regid_invalid"),
    LossCode(POST, 6, "10000", 20, "Invalid RegistrationId"),
    LossCode(POST, 6, "33", 5, "The number of messages exceeds the daily limit"),
    LossCode(POST, 6, "-1", 2, "Service Currently Unavailable"),
    LossCode(POST, 6, "-2", 3, "服务器流量控制"),
    LossCode(POST, 6, "67", 0.4, "消息分类有误，或无权限设置提醒等级"),
    LossCode(POST, 6, "user_daily_limit", 22, "user_daily_limit"),
    LossCode(POST, 7, "10302", 50, "regId不合法", late_err_info="regId 不合法"),
    LossCode(POST, 7, "10311", 45, "用户当前不可达\n（通知关闭或不活跃）"),
    LossCode(POST, 7, "10070", 4, "运营消息发送量超出限制"),
    LossCode(POST, 7, "10104", 0.3, "标题或内容疑似测试文案，请使用正式文案"),
    LossCode(POST, 7, "1000", 18, "其他管控"),
    LossCode(POST, 7, "2144", 40, "消息过期", appears_after_days=1),
    LossCode(POST, 7, "2183", 28, "regId已失效"),
    LossCode(POST, 7, "12000", 10, "用户频次限制"),
    LossCode(POST, 7, "20006", 12, "设备离线超过14天", appears_after_days=2),
    LossCode(POST, 8, "80300007", 25, "All tokens are invalid"),
    LossCode(POST, 8, "40000003", 30, "应用未安装"),
    LossCode(POST, 8, "40000005", 45, "通知开关关闭"),
    LossCode(POST, 8, "40000009", 12, "系统管控丢弃"),
    LossCode(POST, 8, "40000013", 6, "灭屏缓存", vanishes_after_days=3),
    LossCode(POST, 8, "503", 1, "flow control"),
)
